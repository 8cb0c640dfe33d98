//! A data set in device memory, from which steps make their batches.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, DevicePtr};

use super::memory::InTurn;
use super::{Device, Error};
use crate::cuda::Pointer;
use crate::cuda::kernels::batch::Resident;
use crate::program::Images;

/// Images of bytes with their labels, uploaded once.
pub struct Kept {
    device: Arc<Device>,
    pixels: InTurn<CudaSlice<u8>>,
    labels: InTurn<CudaSlice<u32>>,
    table: InTurn<CudaSlice<f32>>,
    count: usize,
    classes: usize,
    shape: [usize; 3],
}

impl Kept {
    /// Uploads images; none if they do not [fit](Images::fit).
    ///
    /// # Errors
    /// [`Error::Program`] if the images do not fit together, [`Error::Driver`].
    pub fn new(device: &Arc<Device>, images: &Images<'_>) -> Result<Option<Self>, Error> {
        images.check()?;
        let _turn = device.turn();
        let (free, _) = device.memory()?;
        if !Images::fit(images.bytes() as u64, free as u64) {
            return Ok(None);
        }
        let stream = &device.stream;
        let memory = || Error::driver("memory for the images");
        let copying = || Error::driver("copying the images to the GPU");
        let image: usize = images.shape.iter().product();
        let count = images.count();
        // At least one byte: the driver refuses none.
        let pixels = stream.alloc_zeros::<u8>((count * image).max(1));
        let mut pixels = pixels.map_err(memory())?;
        let labels = stream.alloc_zeros::<u32>(count.max(1));
        let mut labels = labels.map_err(memory())?;
        let mut first = 0;
        for (part, classes) in &images.parts {
            let end = first + classes.len();
            if !part.is_empty() {
                let mut to = pixels.slice_mut(first * image..end * image);
                stream.memcpy_htod(*part, &mut to).map_err(copying())?;
                let mut to = labels.slice_mut(first..end);
                stream.memcpy_htod(*classes, &mut to).map_err(copying())?;
            }
            first = end;
        }
        let table = stream.clone_htod(images.table.as_flattened());
        let table = table.map_err(copying())?;
        Ok(Some(Self {
            device: Arc::clone(device),
            pixels: InTurn::new(device, pixels),
            labels: InTurn::new(device, labels),
            table: InTurn::new(device, table),
            count,
            classes: images.classes(),
            shape: images.shape,
        }))
    }

    /// What the batch kernel reads of it; squares of side `cutout` are set to 0.
    pub(super) fn resident(&self, cutout: usize) -> Resident {
        let stream = &self.device.stream;
        Resident {
            images: Pointer(self.pixels.device_ptr(stream).0),
            labels: Pointer(self.labels.device_ptr(stream).0),
            table: Pointer(self.table.device_ptr(stream).0),
            count: self.count,
            classes: self.classes,
            shape: self.shape,
            cutout,
        }
    }
}
