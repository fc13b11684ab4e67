//! One error type: the step that failed, the errno, and the path it failed on.
