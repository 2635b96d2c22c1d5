//! Acceptance 2.
