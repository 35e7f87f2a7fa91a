//! The tracker's side of the wire: sockets, heads, bodies, answers, the end.

pub mod body;
pub mod buffers;
pub mod closing;
pub mod connection;
pub mod encode;
pub mod parse;
pub mod rewound;
pub mod server;
pub mod wait;
