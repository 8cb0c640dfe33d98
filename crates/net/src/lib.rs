//! Compiles a graph into a dfdx network: typed parameters, Module, initialisation, save and load.
