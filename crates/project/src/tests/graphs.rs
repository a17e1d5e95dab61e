//! Order, selectors, drawings.
