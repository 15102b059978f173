//! Actors of ractor as guests.

mod bounds;
mod exits;
mod families;
mod ports;
mod samples;
mod starts;
mod subject;
