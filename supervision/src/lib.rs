//! Supervision trees: child specs, strategies, restart intensity and back-off.
