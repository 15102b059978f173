//! Tests of the queue and the slot; the numbers are those of the room's documentation.

#[cfg(mobula_loom)]
mod loom_models;
#[cfg(not(mobula_loom))]
mod model;
#[cfg(not(mobula_loom))]
mod queue;
#[cfg(not(mobula_loom))]
mod slot;
#[cfg(not(mobula_loom))]
mod stress;
#[cfg(not(mobula_loom))]
mod wakes;
