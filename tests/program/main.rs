//! The real program, as its users run it.

mod crash;
mod demo;
mod process;
mod readme;
mod tour;
