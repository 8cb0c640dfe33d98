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

    /// These nodes and all that they wait for, as far as what was captured before: where a library's call is several
    /// kernels, it ends with these.
    fn back_to(&self, before: &Self) -> Vec<sys::CUgraphNode> {
        let mut found = self.nodes.clone();
        let mut at = 0;
        while at < found.len() {
            // Who waits for more is the first kernel of a piece, and waits for what was captured before.
            let mut nodes = [std::ptr::null_mut(); 16];
            let mut edges = [EDGE; 16];
            let mut count = nodes.len();
            // SAFETY: the node is of the graph that is being captured, and as many nodes and edges may be written.
            let asked = unsafe {
                let (nodes, edges) = (nodes.as_mut_ptr(), edges.as_mut_ptr());
                sys::cuGraphNodeGetDependencies_v2(found[at], nodes, edges, &mut count)
            };
            if asked.result().is_ok() {
                let new = nodes.into_iter().take(count).filter(|it| !it.is_null());
                let new = new.filter(|it| !before.nodes.contains(it) && !found.contains(it));
                found.extend(new.collect::<Vec<_>>());
            }
            at += 1;
        }
        found
    }

    /// Says which of the kernels that were captured since `before` go first where several could.
    pub(super) fn prioritise(&self, before: &Self, priorities: Priorities, slack: usize) {
        let value = sys::CUlaunchAttributeValue {
            priority: priorities.of(slack),
        };
        for node in self.back_to(before) {
            let mut kind = sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_EMPTY;
            // SAFETY: the node is of the graph that is being captured, which may be changed meanwhile; what has
            // no priority keeps none.
            unsafe {
                let asked = sys::cuGraphNodeGetType(node, &mut kind);
                if asked.result().is_ok() && kind == sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_KERNEL
                {
                    let priority = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PRIORITY;
                    let _ = sys::cuGraphKernelNodeSetAttribute(node, priority, &value);
                }
            }
        }
    }
}

/// An edge of the plain kind.
const EDGE: sys::CUgraphEdgeData = sys::CUgraphEdgeData {
    from_port: 0,
    to_port: 0,
    type_: 0,
    reserved: [0; 5],
};

/// From the priority that goes first to the one that goes last, where smaller numbers go first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Priorities {
    first: i32,
    last: i32,
}

impl Priorities {
    /// Those of the current context. The driver is asked but not relied on: without priorities a step is as right.
    pub(super) fn of_context() -> Self {
        let mut all = Self { first: 0, last: 0 };
        // SAFETY: both numbers may be written.
        let asked = unsafe { sys::cuCtxGetStreamPriorityRange(&mut all.last, &mut all.first) };
        asked.result().map_or(Self { first: 0, last: 0 }, |()| all)
    }

    /// The priority of a piece: with each doubling of its slack it goes later.
    fn of(self, slack: usize) -> i32 {
        let later = usize::BITS - slack.leading_zeros();
        self.first.saturating_add(later as i32).min(self.last)
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
                true => vec![EDGE; count],
                false => std::slice::from_raw_parts(edges, count).to_vec(),
            };
            Ok(Nodes { nodes, edges })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_slack_goes_first() {
        let all = Priorities { first: -5, last: 0 };
        let found = [0, 1, 2, 3, 4, 8, 15, 16, 1000].map(|slack| all.of(slack));
        assert_eq!(found, [-5, -4, -3, -3, -2, -1, -1, 0, 0]);
        let two = Priorities { first: -1, last: 0 };
        assert_eq!([0, 1, 7].map(|slack| two.of(slack)), [-1, 0, 0]);
        let none = Priorities { first: 0, last: 0 };
        assert_eq!([0, 9].map(|slack| none.of(slack)), [0, 0]);
    }
}
