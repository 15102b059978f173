//! The frame decoder against bytes that no correct peer sends.
