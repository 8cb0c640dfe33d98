//! The builder's remaining operations, and its end.

use super::builder::{Builder, Value, wrong};
use super::{Call, DropPath, Input, Ports, Program, Share, Subsample, Term, layout};
use crate::{Activation, Error, Pool2d, PoolKind};

impl Builder {
    /// An activation function.
    pub fn activation(&mut self, x: Value, kind: Activation) -> Value {
        let y = self.value(x.dims);
        let (x, y_buffer) = (x.buffer, y.buffer);
        self.calls.push(Call::Activation {
            kind,
            x,
            y: y_buffer,
        });
        y
    }

    /// Pooling.
    ///
    /// # Errors
    /// As [`Builder::conv`].
    pub fn pool(&mut self, x: Value, pool: Pool2d) -> Result<Value, Error> {
        let [n, height, width, channels] = x.dims;
        let geometry = pool.geometry((n, height, width, channels))?;
        let y = self.value([n, geometry.rows.output, geometry.columns.output, channels]);
        let keeps = self.training && pool.kind == PoolKind::Max;
        let places = keeps.then(|| self.buffer(y.len().div_ceil(4)));
        self.calls.push(Call::Pool {
            pool,
            dims: x.dims,
            x: x.buffer,
            y: y.buffer,
            places,
        });
        Ok(y)
    }

    /// The mean over each image's pixels.
    pub fn global_average_pool(&mut self, x: Value) -> Value {
        let y = self.value([x.dims[0], 1, 1, x.dims[3]]);
        self.calls.push(Call::GlobalAveragePool {
            dims: x.flat(),
            x: x.buffer,
            y: y.buffer,
        });
        y
    }

    /// The factors of one more drop path; all are drawn by one call at the start.
    pub fn drop_path(&mut self, path: DropPath) -> Share {
        let factors = match self.factors {
            Some(factors) => factors,
            None => {
                let factors = self.buffer(0);
                self.factors = Some(factors);
                factors
            }
        };
        self.paths.push(path);
        self.lens[factors.0 as usize] = self.paths.len() * self.batch;
        Share::Images {
            factors,
            row: self.paths.len() - 1,
        }
    }

    /// A sum of tensors of one shape, each times its share, perhaps with a ReLU.
    ///
    /// # Errors
    /// As [`Builder::conv`].
    pub fn combine(&mut self, terms: &[(Input, Share)], relu: bool) -> Result<Value, Error> {
        let values = || terms.iter().map(|(input, _)| input.parts().0);
        let dims = first(values())?.dims;
        if let Some(x) = values().find(|x| x.dims != dims) {
            return Err(wrong(format!("a sum of {dims:?} and {:?}", x.dims)));
        }
        let y = self.value(dims);
        let terms = terms.iter().map(|(input, share)| {
            let (x, norm) = input.parts();
            Term {
                x: x.buffer,
                norm,
                share: *share,
            }
        });
        self.calls.push(Call::Combine {
            dims: y.flat(),
            terms: terms.collect(),
            relu,
            y: y.buffer,
        });
        Ok(y)
    }

    /// Channels beside each other.
    ///
    /// # Errors
    /// As [`Builder::conv`].
    pub fn concat(&mut self, inputs: &[Value]) -> Result<Value, Error> {
        let [n, height, width, _] = first(inputs.iter().copied())?.dims;
        if let Some(x) = inputs.iter().find(|x| x.dims[..3] != [n, height, width]) {
            let dims = x.dims;
            return Err(wrong(format!(
                "{dims:?} beside {n} images of {height}x{width}"
            )));
        }
        let y = self.value([n, height, width, inputs.iter().map(|x| x.dims[3]).sum()]);
        self.calls.push(Call::Concat {
            rows: n * height * width,
            inputs: inputs.iter().map(|x| (x.buffer, x.dims[3])).collect(),
            y: y.buffer,
        });
        Ok(y)
    }

    /// The product with a tensor of the same shape, or with a gate of one number an image and channel.
    ///
    /// # Errors
    /// As [`Builder::conv`].
    pub fn multiply(&mut self, x: Value, gate: Value) -> Result<Value, Error> {
        let [n, height, width, channels] = x.dims;
        let is_gate = gate.dims == [n, 1, 1, channels];
        if !is_gate && gate.dims != x.dims {
            return Err(wrong(format!("{:?} times {:?}", x.dims, gate.dims)));
        }
        let y = self.value(x.dims);
        if !is_gate {
            self.calls.push(Call::Product {
                count: n * height * width * channels,
                a: x.buffer,
                b: gate.buffer,
                y: y.buffer,
            });
            return Ok(y);
        }
        self.calls.push(Call::Multiply {
            dims: x.flat(),
            x: x.buffer,
            gate: gate.buffer,
            y: y.buffer,
        });
        Ok(y)
    }

    /// Every `stride`th pixel from `offset` on.
    ///
    /// # Errors
    /// As [`Builder::conv`].
    pub fn subsample(&mut self, x: Value, stride: usize, offset: usize) -> Result<Value, Error> {
        let y = self.value(strided(x, stride)?);
        self.calls.push(Call::Subsample {
            subsample: Subsample {
                dims: x.dims,
                stride,
                offset,
            },
            x: x.buffer,
            y: y.buffer,
        });
        Ok(y)
    }

    /// The first channels.
    ///
    /// # Errors
    /// As [`Builder::conv`].
    pub fn truncate(&mut self, x: Value, width: usize) -> Result<Value, Error> {
        let [n, height, columns, of] = x.dims;
        if !(1..=of).contains(&width) {
            return Err(wrong(format!("{width} of {of} channels")));
        }
        let y = self.value([n, height, columns, width]);
        self.calls.push(Call::Truncate {
            rows: n * height * columns,
            of,
            width,
            x: x.buffer,
            y: y.buffer,
        });
        Ok(y)
    }

    /// Zeros in the shape of [`Builder::subsample`].
    ///
    /// # Errors
    /// As [`Builder::conv`].
    pub fn zero(&mut self, x: Value, stride: usize) -> Result<Value, Error> {
        let y = self.value(strided(x, stride)?);
        self.calls.push(Call::Zero { y: y.buffer });
        Ok(y)
    }

    /// Dropout; the tensor itself in evaluation.
    pub fn dropout(&mut self, x: Value, rate: f64, salt: u64) -> Value {
        if !self.training || rate <= 0.0 {
            return x;
        }
        let y = self.value(x.dims);
        self.calls.push(Call::Dropout {
            rate,
            salt,
            x: x.buffer,
            y: super::Target {
                buffer: y.buffer,
                add: false,
            },
        });
        y
    }

    /// The same numbers, an image's in one row.
    #[must_use]
    pub fn flatten(&self, x: Value) -> Value {
        let [n, height, width, channels] = x.dims;
        Value {
            dims: [n, 1, 1, height * width * channels],
            ..x
        }
    }

    /// Softmax cross-entropy of logits as an output, the network's own first, with the weight of its
    /// loss; `smoothing` as in [`crate::softmax_cross_entropy()`].
    pub fn output(&mut self, logits: Value, weight: f64, smoothing: f64) {
        self.outputs.push((logits, weight));
        self.smoothing = smoothing;
    }

    /// The program: forward calls, losses, and in training gradients and update.
    ///
    /// # Errors
    /// [`Error::Shape`] for a program without images or output, and for one that this crate has no
    /// gradient for.
    pub fn finish(mut self) -> Result<Program, Error> {
        let missing = || wrong("there are no images or no output".to_owned());
        let images = self.images.ok_or_else(missing)?;
        let logits = self.outputs.first().ok_or_else(missing)?.0.buffer;
        let (losses, ranks) = (self.buffer(self.batch), self.buffer(self.batch));
        let forward = self.calls.len();
        self.losses(losses, ranks);
        if self.training {
            self.differentiate(forward)?;
            self.calls.push(Call::Update);
        }
        if let Some(factors) = self.factors {
            let call = Call::DropPaths {
                paths: std::mem::take(&mut self.paths),
                images: self.batch,
                factors,
            };
            self.calls.insert(0, call);
        }
        let ports = Ports {
            images,
            logits,
            losses,
            ranks,
            parameters: self.parameters,
            running: self.running,
        };
        let sizes = self.lens.iter().map(|&len| (len, len));
        let (spans, memory) = layout::assign(sizes, &ports.kept(), &self.calls, |it| it);
        Program::new(self.calls, spans, ports, self.batch, memory)
    }
}

fn first(mut inputs: impl Iterator<Item = Value>) -> Result<Value, Error> {
    let none = || wrong("an operation without inputs".to_owned());
    inputs.next().ok_or_else(none)
}

fn strided(x: Value, stride: usize) -> Result<[usize; 4], Error> {
    let [n, height, width, channels] = x.dims;
    if stride == 0 {
        return Err(wrong("the stride must be at least 1".to_owned()));
    }
    Ok([n, height.div_ceil(stride), width.div_ceil(stride), channels])
}
