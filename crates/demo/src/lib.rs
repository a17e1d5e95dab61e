//! The simulated card payments and the example project of pelton demo
