//! HTTP routes of a serving Pelton
