//! A step as a CUDA graph in which a piece of work waits for what it needs, not for all that was handed
//! over before it: what does not depend on each other runs at once.

use cudarc::driver::sys;

use super::{Device, Error};

/// Nodes of the graph that is being captured, and what the driver says of the edges that leave them.
#[derive(Default)]
pub(super) struct Nodes {
    nodes: Vec<sys::CUgraphNode>,
    edges: Vec<sys::CUgraphEdgeData>,
}

impl Nodes {
    /// The nodes of all of them, each once.
    pub(super) fn of<'n>(all: impl IntoIterator<Item = &'n Self>) -> Self {
        let mut found = Self::default();
        for it in all {
            for (node, edge) in it.nodes.iter().zip(&it.edges) {
                if !found.nodes.contains(node) {
                    found.nodes.push(*node);
                    found.edges.push(*edge);
                }
            }
        }
        found
    }
}

impl Device {
    /// Lets what is captured next wait for these nodes alone.
    pub(super) fn wait_for(&self, nodes: &mut Nodes) -> Result<(), Error> {
        let set = sys::CUstreamUpdateCaptureDependencies_flags::CU_STREAM_SET_CAPTURE_DEPENDENCIES;
        // SAFETY: the nodes are of the graph that the stream captures, with as many edges; the driver
        // copies both.
        let done = unsafe {
            sys::cuStreamUpdateCaptureDependencies_v2(
                self.stream.cu_stream(),
                nodes.nodes.as_mut_ptr(),
                nodes.edges.as_ptr(),
                nodes.nodes.len(),
                set as u32,
            )
        };
        done.result()
            .map_err(Error::driver("ordering a captured step"))
    }

    /// The nodes that what is captured next would wait for: the last ones that were captured.
    pub(super) fn captured(&self) -> Result<Nodes, Error> {
        let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
        let (mut nodes, mut edges) = (std::ptr::null(), std::ptr::null());
        let mut count = 0;
        // SAFETY: all may be written; what comes back is valid until the stream's next call, and copied
        // before.
        unsafe {
            let asked = sys::cuStreamGetCaptureInfo_v3(
                self.stream.cu_stream(),
                &raw mut status,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                &raw mut nodes,
                &raw mut edges,
                &raw mut count,
            );
            let asked = asked.result();
            asked.map_err(Error::driver("asking what was captured"))?;
            if status != sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE {
                return Err(Error::driver("asking what was captured")(status));
            }
            if count == 0 {
                return Ok(Nodes::default());
            }
            let nodes = std::slice::from_raw_parts(nodes, count).to_vec();
            let edges = match edges.is_null() {
                true => vec![std::mem::zeroed(); count],
                false => std::slice::from_raw_parts(edges, count).to_vec(),
            };
            Ok(Nodes { nodes, edges })
        }
    }
}
