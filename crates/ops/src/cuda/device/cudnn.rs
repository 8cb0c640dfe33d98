//! cuDNN, where there is one: dense convolutions of NHWC tensors.
//!
//! Of what its heuristics propose, the first algorithm is taken that can do the sizes and needs no more
//! workspace than [`WORKSPACE`]. Where there is none, our own kernels do the convolution.

use std::ffi::{c_int, c_void};

use cudarc::cudnn::result::{self, CudnnError};
use cudarc::cudnn::sys;

use super::{Device, Error, libraries};
use crate::conv2d::geometry::Geometry;
use crate::cuda::script::{Dense, Pass};

/// Bytes that a convolution may compute in.
pub const WORKSPACE: usize = 64 << 20;

const DOING: &str = "a convolution by cuDNN (CELLWRIGHT_NO_CUDNN=1 goes without it)";
const STARTING: &str = "starting cuDNN (CELLWRIGHT_NO_CUDNN=1 goes without it)";

/// What cuDNN has made, given back when it is dropped.
struct Owned<T: Copy> {
    it: T,
    destroy: unsafe fn(T) -> Result<(), CudnnError>,
}

impl<T: Copy> Owned<T> {
    fn new(
        made: Result<T, CudnnError>,
        destroy: unsafe fn(T) -> Result<(), CudnnError>,
    ) -> Result<Self, CudnnError> {
        made.map(|it| Self { it, destroy })
    }
}

impl<T: Copy> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it was made by the function beside `destroy`, and nobody else gives it back. What cannot
        // be given back ends with the process.
        let _ = unsafe { (self.destroy)(self.it) };
    }
}

/// cuDNN on a device's stream. To be used by one thread at a time, which the device's turn makes sure of.
pub(super) struct Cudnn(Owned<sys::cudnnHandle_t>);

// SAFETY: cuDNN ties nothing to a thread but the current context, and no two threads use the handle at once.
unsafe impl Send for Cudnn {}
// SAFETY: as above.
unsafe impl Sync for Cudnn {}

/// What of a convolution is done how.
struct Choice {
    convolution: Owned<sys::cudnnConvolutionDescriptor_t>,
    algorithm: Algorithm,
    workspace: usize,
}

/// What a convolution rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounds {
    /// Nothing to less than fp32.
    Nothing,
    /// Factors to TF32.
    Factors,
    /// All tensors to bfloat16.
    Tensors,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Input(sys::cudnnConvolutionBwdDataAlgo_t),
    Filters(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// An algorithm that the heuristics propose, and the arithmetic that it is meant with.
type Offer = (Algorithm, sys::cudnnMathType_t);

struct Tensors {
    x: Owned<sys::cudnnTensorDescriptor_t>,
    y: Owned<sys::cudnnTensorDescriptor_t>,
    filters: Owned<sys::cudnnFilterDescriptor_t>,
}

/// How cuDNN does a convolution and its gradients.
pub(super) struct Plan {
    pub(super) geometry: Geometry,
    tensors: Tensors,
    /// By [`Pass`]; the gradients only for training.
    choices: Vec<(Pass, Choice)>,
}

impl Plan {
    /// Bytes of the workspace.
    pub(super) fn workspace(&self) -> usize {
        let choices = self.choices.iter();
        choices.map(|(_, it)| it.workspace).max().unwrap_or(0)
    }
}

impl Cudnn {
    /// cuDNN 9 on a device; none where it is not found.
    pub(super) fn open(device: &Device) -> Result<Option<Self>, Error> {
        // SAFETY: the library is looked for by its names, which loads it.
        let found = libraries::load_cudnn() && unsafe { sys::is_culib_present() };
        if !found || result::get_version() < 90_000 {
            return Ok(None);
        }
        let handle = Owned::new(result::create_handle(), result::destroy_handle);
        let handle = handle.map_err(Error::driver(STARTING))?;
        // SAFETY: the handle was just made, and the stream lives as long as the device that keeps both.
        let set = unsafe { result::set_stream(handle.it, device.stream.cu_stream().cast()) };
        set.map_err(Error::driver(STARTING))?;
        Ok(Some(Self(handle)))
    }

    /// A plan; none where cuDNN does not do one of the passes.
    pub(super) fn plan(&self, geometry: Geometry, passes: &[Pass], rounds: Rounds) -> Option<Plan> {
        let tensors = tensors(&geometry, rounds).ok()?;
        let choice = |&pass: &Pass| {
            let choice = self.choice(&geometry, &tensors, pass, rounds).ok()??;
            Some((pass, choice))
        };
        let choices = passes.iter().map(choice).collect::<Option<_>>()?;
        Some(Plan {
            geometry,
            tensors,
            choices,
        })
    }

    /// The first of the algorithms for a pass that can be used.
    fn choice(
        &self,
        geometry: &Geometry,
        tensors: &Tensors,
        pass: Pass,
        rounds: Rounds,
    ) -> Result<Option<Choice>, CudnnError> {
        use sys::cudnnMathType_t::{CUDNN_DEFAULT_MATH, CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH};
        let asked = match rounds {
            Rounds::Nothing => CUDNN_FMA_MATH,
            Rounds::Factors => CUDNN_DEFAULT_MATH,
            // By default tensor cores are for fp32 alone.
            Rounds::Tensors => CUDNN_TENSOR_OP_MATH,
        };
        let convolution = convolution(geometry, asked)?;
        for (algorithm, math) in self.offers(tensors, pass, convolution.it)? {
            // Whatever is proposed: no less than full products without TF32, and tensor cores for bfloat16.
            let math = if rounds == Rounds::Factors {
                math
            } else {
                asked
            };
            // SAFETY: the descriptor lives.
            unsafe { result::set_convolution_math_type(convolution.it, math)? };
            match self.workspace(tensors, convolution.it, algorithm) {
                Ok(workspace) if workspace <= WORKSPACE => {
                    return Ok(Some(Choice {
                        convolution,
                        algorithm,
                        workspace,
                    }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn offers(
        &self,
        Tensors { x, y, filters }: &Tensors,
        pass: Pass,
        convolution: sys::cudnnConvolutionDescriptor_t,
    ) -> Result<Vec<Offer>, CudnnError> {
        const MOST: usize = 10;
        macro_rules! offers {
            ($ask:path, $of:ident, $first:expr, $second:expr, $third:expr) => {{
                // SAFETY: zeros are values of all fields' types; the descriptors live, and no more entries
                // are written than there are.
                unsafe {
                    let mut found: [_; MOST] = std::mem::zeroed();
                    let (mut count, most) = (0, MOST as c_int);
                    let (handle, to) = (self.0.it, found.as_mut_ptr());
                    $ask(handle, $first.it, $second.it, convolution, $third.it, most, &raw mut count, to)?;
                    let found = found.iter().take(usize::try_from(count).unwrap_or(0));
                    let able = found.filter(|it| it.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS);
                    able.map(|it| (Algorithm::$of(it.algo), it.mathType)).collect()
                }
            }};
        }
        Ok(match pass {
            Pass::Forward => {
                offers!(
                    result::get_convolution_forward_algorithm,
                    Forward,
                    x,
                    filters,
                    y
                )
            }
            Pass::Input => {
                offers!(
                    result::get_convolution_backward_data_algorithm,
                    Input,
                    filters,
                    y,
                    x
                )
            }
            Pass::Filters => {
                offers!(
                    result::get_convolution_backward_filter_algorithm,
                    Filters,
                    x,
                    y,
                    filters
                )
            }
        })
    }

    /// Bytes that an algorithm computes in.
    fn workspace(
        &self,
        Tensors { x, y, filters }: &Tensors,
        convolution: sys::cudnnConvolutionDescriptor_t,
        algorithm: Algorithm,
    ) -> Result<usize, CudnnError> {
        let (handle, conv) = (self.0.it, convolution);
        // SAFETY: the descriptors live.
        unsafe {
            match algorithm {
                Algorithm::Forward(it) => result::get_convolution_forward_workspace_size(
                    handle, x.it, filters.it, conv, y.it, it,
                ),
                Algorithm::Input(it) => result::get_convolution_backward_data_workspace_size(
                    handle, filters.it, y.it, conv, x.it, it,
                ),
                Algorithm::Filters(it) => result::get_convolution_backward_filter_workspace_size(
                    handle, x.it, y.it, conv, filters.it, it,
                ),
            }
        }
    }

    /// Runs a pass of a planned convolution, whose workspace has the plan's size.
    pub(super) fn run(&self, plan: &Plan, dense: &Dense) -> Result<(), Error> {
        let choice = plan.choices.iter().find(|(pass, _)| *pass == dense.pass);
        let Some((_, choice)) = choice else {
            return Err(Error::driver(DOING)("a pass without a plan"));
        };
        let Choice {
            convolution,
            algorithm,
            workspace: bytes,
        } = choice;
        let Tensors {
            x: of_x,
            y: of_y,
            filters: of_filters,
        } = &plan.tensors;
        let [x, y, filters, room] =
            [dense.x, dense.y, dense.filters, dense.workspace].map(|it| it.0 as *mut c_void);
        let (one, beta) = (1.0f32, if dense.add { 1.0f32 } else { 0.0 });
        let (one, beta) = ((&raw const one).cast(), (&raw const beta).cast());
        let (handle, conv) = (self.0.it, convolution.it);
        // SAFETY: the tensors lie in the executor's memory, with the plan's sizes, and so does the
        // workspace; the two numbers are read before the call returns.
        let done = unsafe {
            match *algorithm {
                Algorithm::Forward(it) => result::convolution_forward(
                    handle,
                    one,
                    of_x.it,
                    x,
                    of_filters.it,
                    filters,
                    conv,
                    it,
                    room,
                    *bytes,
                    beta,
                    of_y.it,
                    y,
                ),
                Algorithm::Input(it) => result::convolution_backward_data(
                    handle,
                    one,
                    of_filters.it,
                    filters,
                    of_y.it,
                    y,
                    conv,
                    it,
                    room,
                    *bytes,
                    beta,
                    of_x.it,
                    x,
                ),
                Algorithm::Filters(it) => result::convolution_backward_filter(
                    handle,
                    one,
                    of_x.it,
                    x,
                    of_y.it,
                    y,
                    conv,
                    it,
                    room,
                    *bytes,
                    beta,
                    of_filters.it,
                    filters,
                ),
            }
        };
        done.map_err(Error::driver(DOING))
    }
}

const FLOAT: sys::cudnnDataType_t = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
const NHWC: sys::cudnnTensorFormat_t = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;

/// Sizes as cuDNN takes them; what an int does not hold becomes −1, which it refuses.
fn ints<const N: usize>(sizes: [usize; N]) -> [c_int; N] {
    sizes.map(|size| c_int::try_from(size).unwrap_or(-1))
}

fn tensors(g: &Geometry, rounds: Rounds) -> Result<Tensors, CudnnError> {
    let kind = match rounds {
        Rounds::Tensors => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        _ => FLOAT,
    };
    let tensor = |sizes| {
        let made = result::create_tensor_descriptor();
        let made = Owned::new(made, result::destroy_tensor_descriptor)?;
        // SAFETY: the descriptor was just made.
        unsafe { result::set_tensor4d_descriptor(made.it, NHWC, kind, ints(sizes))? };
        Ok(made)
    };
    let made = result::create_filter_descriptor();
    let filters = Owned::new(made, result::destroy_filter_descriptor)?;
    let sizes = ints([g.filters, g.channels, g.kernel[0], g.kernel[1]]);
    // SAFETY: the descriptor was just made.
    unsafe { result::set_filter4d_descriptor(filters.it, kind, NHWC, sizes)? };
    Ok(Tensors {
        x: tensor([g.images, g.channels, g.height, g.width])?,
        y: tensor([g.images, g.filters, g.out_height, g.out_width])?,
        filters,
    })
}

fn convolution(
    g: &Geometry,
    math: sys::cudnnMathType_t,
) -> Result<Owned<sys::cudnnConvolutionDescriptor_t>, CudnnError> {
    let made = result::create_convolution_descriptor();
    let made = Owned::new(made, result::destroy_convolution_descriptor)?;
    let [top, _, left, _] = ints(g.conv.padding);
    let ([down, right], [rows, columns]) = (ints(g.conv.stride), ints(g.conv.dilation));
    let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
    // SAFETY: the descriptor was just made.
    unsafe {
        result::set_convolution2d_descriptor(
            made.it, top, left, down, right, rows, columns, mode, FLOAT,
        )?;
        result::set_convolution_math_type(made.it, math)?;
    }
    Ok(made)
}
