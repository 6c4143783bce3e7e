//! The driver `docker`: tasks as containers of a Docker engine, spoken to over its socket.
//!
//! Nothing here knows of agents or servers; what the engine keeps is found again by the labels that it was given.
