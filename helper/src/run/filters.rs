//! Compiled seccomp profiles, found again by the profile's text: an engine uses few, many times.

use std::collections::HashMap;
use std::rc::Rc;

use super::credentials::Filter;
use crate::error::{Failure, Result};
use crate::seccomp::{Architecture, Seccomp, compile, flags};

/// More than this many different profiles are not expected; then the collection starts anew.
const CAPACITY: usize = 32;

#[derive(Default)]
pub struct Filters {
    compiled: HashMap<String, Rc<Filter>>,
}

impl Filters {
    pub fn compile(&mut self, profile: &str) -> Result<Rc<Filter>> {
        if let Some(filter) = self.compiled.get(profile) {
            return Ok(filter.clone());
        }
        let spec: Seccomp = serde_json::from_str(profile).map_err(|error| {
            Failure::kind("read linux.seccomp", "config-invalid").detail(error.to_string())
        })?;
        let filter = Rc::new(Filter {
            program: compile(&spec, Architecture::NATIVE)?,
            flags: flags(&spec)?,
            listener: spec.listener()?,
        });
        if self.compiled.len() == CAPACITY {
            self.compiled.clear();
        }
        self.compiled.insert(profile.to_owned(), filter.clone());
        Ok(filter)
    }
}
