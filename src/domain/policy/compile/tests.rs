//! Whole policies: what loads, what does not, and what they decide.

use super::*;
