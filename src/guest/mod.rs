//! Files of the guest, as text: pure, no I/O.
