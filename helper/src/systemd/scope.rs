//! A scope: a unit that systemd makes around processes which it has not started itself.

use serde::{Deserialize, Serialize};

use super::connection::{Connection, Manager};
use super::message::Writer;
use super::property::{Property, Value};
use crate::error::{Failure, Result};

/// One that is there, or will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    pub manager: Manager,
    /// `prefix-name.scope`
    pub unit: String,
}

/// One to be made.
#[derive(Debug, Clone)]
pub struct ScopeRequest {
    pub scope: Scope,
    /// `machine.slice`
    pub slice: String,
    pub description: String,
    pub properties: Vec<Property>,
}

impl ScopeRequest {
    /// Has systemd make it, with the process in it. Its cgroup is handed over for good: others can be made below it.
    pub fn start(&self, pid: u32) -> Result<()> {
        let mut connection = Connection::open(self.scope.manager)?;
        let mut properties = vec![
            Property::new("Description", Value::Text(self.description.clone())),
            Property::new("Slice", Value::Text(self.slice.clone())),
            Property::new("PIDs", Value::Uint32s(vec![pid])),
            Property::new("Delegate", Value::Bool(true)),
            // It is not to end because the system goes down before the engine does: that ends its containers in order.
            Property::new("DefaultDependencies", Value::Bool(false)),
            // One that failed would keep its name taken.
            Property::new("CollectMode", Value::Text("inactive-or-failed".into())),
        ];
        // A property that is given again counts as given last.
        properties.extend(self.properties.iter().cloned());
        let mut body = Writer::default();
        body.text(&self.scope.unit);
        body.text("fail");
        write_properties(&mut body, &properties);
        body.array(8, |_| {});
        run_job(
            &mut connection,
            &self.scope.unit,
            "StartTransientUnit",
            "ssa(sv)a(sa(sv))",
            body,
        )
    }
}

impl Scope {
    /// The cgroup of a slice, below the root of the hierarchy.
    pub fn cgroup_of_slice(manager: Manager, slice: &str) -> Result<String> {
        let root = Connection::open(manager)?.text("ControlGroup")?;
        let root = root.trim_end_matches('/');
        Ok(format!("{root}{}", path_of_slice(slice)?))
    }

    /// Sets properties until it ends.
    pub fn set(&self, properties: &[Property]) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let mut body = Writer::default();
        body.text(&self.unit);
        // Until the next boot.
        body.number(1);
        write_properties(&mut body, properties);
        let mut connection = Connection::open(self.manager)?;
        connection.call("SetUnitProperties", "sba(sv)", body)?;
        Ok(())
    }

    /// Makes the name free, whose processes have ended. One that has gone by itself is fine.
    pub fn stop(&self) -> Result<()> {
        let mut connection = Connection::open(self.manager)?;
        let mut body = Writer::default();
        body.text(&self.unit);
        body.text("replace");
        match run_job(&mut connection, &self.unit, "StopUnit", "ss", body) {
            Err(failure) if failure.kind == Some("not-found") => return Ok(()),
            stopped => stopped?,
        }
        let mut body = Writer::default();
        body.text(&self.unit);
        match connection.call("ResetFailedUnit", "s", body) {
            Err(failure) if failure.kind == Some("not-found") => Ok(()),
            reset => reset.map(drop),
        }
    }
}

/// Calls what makes a job, and waits for the job's end: only then is what was asked for there.
fn run_job(
    connection: &mut Connection,
    unit: &str,
    member: &str,
    signature: &str,
    body: Writer,
) -> Result<()> {
    let answer = connection.call(member, signature, body)?;
    let job = answer.body().text();
    loop {
        let signal = connection.signal()?;
        if signal.member.as_deref() != Some("JobRemoved") {
            continue;
        }
        let mut body = signal.body();
        body.number();
        if body.text() != job {
            continue;
        }
        body.text();
        return match body.text().as_deref() {
            Some("done") => Ok(()),
            result => Err(Failure::kind(format!("ask systemd ({member})"), "systemd")
                .detail(format!("{unit}: {}", result.unwrap_or_default()))),
        };
    }
}

fn write_properties(body: &mut Writer, properties: &[Property]) {
    body.array(8, |writer| {
        for Property { name, value } in properties {
            writer.align(8);
            writer.text(name);
            value.write(writer);
        }
    });
}

/// `a-b.slice` lies in `a.slice`; `-.slice` is the root.
fn path_of_slice(slice: &str) -> Result<String> {
    let invalid = || {
        Failure::kind("read linux.cgroupsPath", "config-invalid")
            .detail(format!("not the name of a slice: {slice:?}"))
    };
    let stem = slice.strip_suffix(".slice").ok_or_else(invalid)?;
    if stem == "-" {
        return Ok(String::new());
    }
    if slice.contains('/') {
        return Err(invalid());
    }
    let mut path = String::new();
    let mut name = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return Err(invalid());
        }
        name.push_str(part);
        path.push_str(&format!("/{name}.slice"));
        name.push('-');
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_lies_in_those_that_its_name_names() {
        assert_eq!(path_of_slice("system.slice").unwrap(), "/system.slice");
        assert_eq!(
            path_of_slice("a-b-c.slice").unwrap(),
            "/a.slice/a-b.slice/a-b-c.slice"
        );
        assert_eq!(path_of_slice("-.slice").unwrap(), "");
        for slice in [
            "",
            "system",
            ".slice",
            "a--b.slice",
            "-a.slice",
            "a/b.slice",
            "../x.slice",
        ] {
            assert!(path_of_slice(slice).is_err(), "{slice}");
        }
    }
}
