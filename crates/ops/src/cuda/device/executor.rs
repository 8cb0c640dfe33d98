//! Runs a script on a device: piece by piece, or captured once as a CUDA graph and replayed.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublas::{result as blas, sys as blas_sys};
use cudarc::driver::{CudaFunction, CudaGraph, result, sys};

use super::capture::Nodes;
use super::cudnn::{Plan, Rounds};
use super::memory::Memory;
use super::{Device, Error, Kept};
use crate::cuda::kernels::convolution_narrow;
use crate::cuda::script::{Dense, Library, Pass, Piece, Product, Script, Work, packed};
use crate::cuda::{Launch, Pointer};
use crate::optimiser::{Settings, State};
use crate::program::{Batch, Buffer, Control, Precision, Program, Runner, Totals, Weights};

/// How a step's work is handed to the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Launch by launch.
    Eager,
    /// As one CUDA graph, captured at the second step.
    Captured,
}

/// How a program's steps are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// How the work is handed over.
    pub replay: Replay,
    /// What is computed in; TF32 is fp32 where there are no tensor cores.
    pub precision: Precision,
    /// Whether cuDNN does dense convolutions, where there is one.
    pub cudnn: bool,
}

/// A program with its memory on a device.
pub struct DeviceExecutor {
    device: Arc<Device>,
    script: Script,
    memory: Memory,
    work: Vec<Piece>,
    functions: HashMap<(&'static str, bool), CudaFunction>,
    /// What cuDNN does.
    plans: Vec<Plan>,
    replay: Replay,
    graph: Option<CudaGraph>,
    /// The images that batches are made of, if not on the host.
    _kept: Option<Arc<Kept>>,
    /// Whether products may round their factors to TF32.
    tf32: bool,
    /// Whether a step has run: libraries do at their first call what cannot be captured.
    warm: bool,
    steps: u64,
}

// SAFETY: the graph is used by the owner alone, one call at a time; the driver ties nothing to a thread
// but the current context, which every call sets.
unsafe impl Send for DeviceExecutor {}

impl DeviceExecutor {
    /// Memory for a program, which an optimiser's settings make one of training. Batches are made of the
    /// images that are kept, if there are any, with squares of the side beside them cut out.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is too little, [`Error::Driver`] if the device fails; so for all
    /// functions here.
    pub fn new(
        device: &Arc<Device>,
        program: Arc<Program>,
        optimiser: Option<Settings>,
        kept: Option<(Arc<Kept>, usize)>,
        modes: Modes,
    ) -> Result<Self, Error> {
        device.check(modes.precision)?;
        let rounds = match device.computes_in(modes.precision) {
            Precision::Bf16 => Rounds::Tensors,
            Precision::Tf32 => Rounds::Factors,
            Precision::Fp32 => Rounds::Nothing,
        };
        let (tf32, bf16) = (rounds != Rounds::Nothing, rounds == Rounds::Tensors);
        let resident = kept.as_ref().map(|(kept, cutout)| kept.resident(*cutout));
        let plans = match modes.cudnn {
            true => plans(device, &program, optimiser.is_some(), rounds)?,
            false => Vec::new(),
        };
        let workspace = plans.iter().map(Plan::workspace).max().unwrap_or(0);
        let library = Library {
            convolutions: plans.iter().map(|plan| plan.geometry).collect(),
            workspace: workspace.div_ceil(4),
        };
        let script = Script::new(program, optimiser, resident, library, bf16)?;
        let mut memory = Memory::new(device, script.words())?;
        let base = memory.base();
        for (word, table) in script.tables(base)? {
            let halves = table.iter().flat_map(|it| [*it as u32, (*it >> 32) as u32]);
            let halves: Vec<u32> = halves.collect();
            if !halves.is_empty() {
                memory.put(word, &halves)?;
            }
        }
        let work = script.work(base, tf32)?;
        let mut functions = HashMap::new();
        for piece in &work {
            if let Work::Launch(launch) = &piece.work
                && !functions.contains_key(&(launch.kernel, launch.bf16))
            {
                let function = device.function(launch)?;
                functions.insert((launch.kernel, launch.bf16), function);
            }
        }
        Ok(Self {
            device: Arc::clone(device),
            script,
            memory,
            work,
            functions,
            plans,
            replay: modes.replay,
            graph: None,
            _kept: kept.map(|(kept, _)| kept),
            tf32,
            warm: false,
            steps: 0,
        })
    }

    fn put_buffer(&mut self, buffer: Buffer, numbers: &[f32]) -> Result<(), Error> {
        let span = self.script.program().span(buffer);
        if numbers.len() > span.len {
            let detail = format!("{} numbers for a buffer of {}", numbers.len(), span.len);
            return Err(crate::Error::shape("program", detail).into());
        }
        match self.script.is_narrow(buffer) {
            true => self.memory.put(span.start, &packed(numbers)),
            false => self.memory.put_numbers(span.start, numbers),
        }
    }

    /// Captures the step and runs it.
    fn capture(&mut self) -> Result<(), Error> {
        let stream = Arc::clone(&self.device.stream);
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        let begun = stream.begin_capture(mode);
        begun.map_err(Error::driver("beginning a capture"))?;
        let written = self.branches();
        // Ended in any case, or the stream stays of no use.
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
        let graph = stream.end_capture(flags);
        written?;
        let graph = graph.map_err(Error::driver("capturing a step"))?;
        let Some(graph) = graph else {
            return self.eager();
        };
        graph.launch().map_err(Error::driver("replaying a step"))?;
        self.graph = Some(graph);
        Ok(())
    }

    /// Hands all pieces over, one after the other.
    fn eager(&self) -> Result<(), Error> {
        let bound = self.device.context.bind_to_thread();
        bound.map_err(Error::driver("choosing the GPU"))?;
        self.work.iter().try_for_each(|it| self.hand_over(&it.work))
    }

    /// As [`Self::eager`] while the stream is captured, but a piece waits for those alone that it must.
    fn branches(&self) -> Result<(), Error> {
        let mut ends: Vec<Nodes> = Vec::with_capacity(self.work.len());
        let mut last = vec![true; self.work.len()];
        for piece in &self.work {
            let mut before = Nodes::of(piece.after.iter().map(|&it| &ends[it]));
            self.device.wait_for(&mut before)?;
            piece.after.iter().for_each(|&it| last[it] = false);
            self.hand_over(&piece.work)?;
            let nodes = self.device.captured()?;
            nodes.prioritise(&before, self.device.priorities, piece.slack);
            ends.push(nodes);
        }
        let ends = ends.iter().zip(last).filter(|(_, last)| *last);
        self.device
            .wait_for(&mut Nodes::of(ends.map(|(nodes, _)| nodes)))
    }

    fn hand_over(&self, work: &Work) -> Result<(), Error> {
        match work {
            Work::Launch(launch) => self.launch(launch),
            Work::Product(product) => self.product(product),
            Work::Dense(dense) => self.dense(dense),
            Work::Clear(pointer, words) => self.clear(*pointer, *words),
        }
    }

    fn launch(&self, launch: &Launch) -> Result<(), Error> {
        let Some(function) = self.functions.get(&(launch.kernel, launch.bf16)) else {
            return Err(Error::driver("finding a kernel")(launch.kernel));
        };
        let arguments = launch.arguments.iter();
        let mut arguments: Vec<*mut c_void> = arguments.map(|a| a.address().cast_mut()).collect();
        let ([x, y, z], [bx, by, bz]) = (launch.grid, launch.block);
        let stream = self.device.stream.cu_stream();
        // SAFETY: the arguments are of the kernel's types, which the emulation checks, and point into
        // this executor's memory, which lives until the stream is done with it.
        let launched = unsafe {
            let function = function.cu_function();
            result::launch_kernel(function, (x, y, z), (bx, by, bz), 0, stream, &mut arguments)
        };
        launched.map_err(|error| Error::Driver {
            doing: launch.kernel,
            reason: format!("{error:?}"),
        })
    }

    fn dense(&self, dense: &Dense) -> Result<(), Error> {
        let plan = self.plans.iter().find(|it| it.geometry == dense.geometry);
        let (Some(plan), Some(cudnn)) = (plan, self.device.cudnn()?) else {
            return Err(Error::driver("a convolution")("it has no plan"));
        };
        cudnn.run(plan, dense)
    }

    fn clear(&self, pointer: Pointer, words: usize) -> Result<(), Error> {
        let stream = self.device.stream.cu_stream();
        // SAFETY: the words lie in this executor's memory.
        let cleared = unsafe { sys::cuMemsetD32Async(pointer.0, 0, words, stream) };
        cleared.result().map_err(Error::driver("setting to zero"))
    }

    /// cuBLAS has columns where this has rows: cᵀ = bᵀ · aᵀ.
    fn product(&self, product: &Product) -> Result<(), Error> {
        use blas_sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
        let size = product.size.map(i32::try_from);
        let [Ok(m), Ok(n), Ok(k)] = size else {
            let detail = format!("{:?} is larger than cuBLAS takes", product.size);
            return Err(crate::Error::shape("product", detail).into());
        };
        let operation = |transposed| if transposed { CUBLAS_OP_T } else { CUBLAS_OP_N };
        let [a_transposed, b_transposed] = product.transposed;
        let (one, beta) = (1.0f32, if product.add { 1.0f32 } else { 0.0 });
        let compute = if self.tf32 {
            blas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32
        } else {
            blas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F
        };
        let float = blas_sys::cudaDataType::CUDA_R_32F;
        self.device.compute_in(product.lane)?;
        // SAFETY: the factors and the product lie in this executor's memory, with these sizes; the two
        // numbers are read before the call returns.
        let done = unsafe {
            blas::gemm_ex(
                *self.device.blas.handle(),
                operation(b_transposed),
                operation(a_transposed),
                n,
                m,
                k,
                (&raw const one).cast(),
                product.b.0 as *const c_void,
                float,
                if b_transposed { k } else { n },
                product.a.0 as *const c_void,
                float,
                if a_transposed { m } else { k },
                (&raw const beta).cast(),
                product.c.0 as *mut c_void,
                float,
                n,
                compute,
                blas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        done.map_err(Error::driver("a matrix product"))
    }
}

/// How cuDNN, if there is one, does the convolutions of a program that it can do.
fn plans(
    device: &Device,
    program: &Program,
    training: bool,
    rounds: Rounds,
) -> Result<Vec<Plan>, Error> {
    let candidates = Library::candidates(program);
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let _turn = device.turn();
    let Some(cudnn) = device.cudnn()? else {
        return Ok(Vec::new());
    };
    let bound = device.context.bind_to_thread();
    bound.map_err(Error::driver("choosing the GPU"))?;
    let passes = [Pass::Forward, Pass::Input, Pass::Filters];
    let (tf32, bf16) = (rounds != Rounds::Nothing, rounds == Rounds::Tensors);
    let passes = if training { &passes[..] } else { &passes[..1] };
    // Narrow ones are our own kernels'.
    let others = candidates
        .into_iter()
        .filter(|it| !(tf32 && convolution_narrow::suits(it, bf16)));
    let plans = others.filter_map(|it| cudnn.plan(it, passes, rounds));
    Ok(plans.collect())
}

impl Runner for DeviceExecutor {
    fn bytes(&self) -> u64 {
        4 * self.script.words() as u64
    }

    fn load(&mut self, weights: &Weights) -> Result<(), crate::Error> {
        let program = Arc::clone(self.script.program());
        program.check(weights)?;
        let values = weights.parameters.iter().chain(&weights.running);
        let starts = program.learned().map(|it| program.span(it).start);
        let all: Vec<_> = starts.zip(values.map(|it| &it[..])).collect();
        Ok(self.memory.put_all(&all)?)
    }

    fn weights(&self) -> Result<Weights, crate::Error> {
        let program = self.script.program();
        let spans = program.learned().map(|it| program.span(it));
        let spans: Vec<_> = spans.map(|it| (it.start, it.len)).collect();
        let mut all = self.memory.all_numbers(&spans)?;
        let running = all.split_off(program.ports().parameters.len());
        Ok(Weights {
            parameters: all,
            running,
        })
    }

    fn state(&self) -> Result<State, crate::Error> {
        let read = |spans: &[(usize, usize)]| self.memory.all_numbers(spans);
        Ok(self.script.state(self.steps, read)?)
    }

    fn set_state(&mut self, state: &State) -> Result<(), crate::Error> {
        self.memory.put_all(&self.script.state_words(state)?)?;
        self.steps = state.steps;
        Ok(())
    }

    fn run(&mut self, control: &Control, batch: Batch<'_>) -> Result<(), crate::Error> {
        let device = Arc::clone(&self.device);
        let _turn = device.turn();
        let draws = match (batch, self.script.is_resident()) {
            (Batch::Kept(draws), true) => draws,
            (Batch::Pixels(pixels, labels), false) => {
                self.script.program().check_labels(labels)?;
                self.put_buffer(self.script.program().ports().images, pixels)?;
                self.memory.put(self.script.labels(), labels)?;
                &[]
            }
            (_, resident) => {
                let detail = format!("a batch of another kind; kept images: {resident}");
                return Err(crate::Error::shape("program", detail));
            }
        };
        let words = self.script.control(control, self.steps + 1, draws)?;
        self.steps += 1;
        self.memory.put(self.script.control_word(), &words)?;
        match (&self.graph, self.replay) {
            (Some(graph), _) => graph.launch().map_err(Error::driver("replaying a step"))?,
            (None, Replay::Captured) if self.warm => self.capture()?,
            _ => self.eager()?,
        }
        self.warm = true;
        Ok(())
    }

    fn loss(&self) -> Result<f32, crate::Error> {
        let found = self.memory.numbers(self.script.mean(), 1)?;
        Ok(found[0])
    }

    fn take_totals(&mut self) -> Result<Totals, crate::Error> {
        let at = self.script.totals();
        let words = self.memory.get(at, Script::TOTALS)?;
        self.memory.put(at, &[0; Script::TOTALS])?;
        let wide = |index: usize| u64::from(words[index]) | (u64::from(words[index + 1]) << 32);
        Ok(Totals {
            loss: f64::from_bits(wide(0)),
            images: wide(2),
            correct: [wide(4), wide(6)],
        })
    }

    fn each(&self) -> Result<(Vec<f32>, Vec<u32>), crate::Error> {
        let program = self.script.program();
        let (losses, ranks) = (program.ports().losses, program.ports().ranks);
        let (losses, ranks) = (program.span(losses), program.span(ranks));
        Ok((
            self.memory.numbers(losses.start, losses.len)?,
            self.memory.get(ranks.start, ranks.len)?,
        ))
    }
}
