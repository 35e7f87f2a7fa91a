//! The parameters of a decision, within their limits.

use std::borrow::Cow;

/// Bounds of a parameter list; what is beyond one is left out and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterLimits {
    /// Parameters.
    pub parameters_max: usize,
    /// A name, decoded.
    pub name_bytes_max: usize,
    /// A value, decoded.
    pub value_bytes_max: usize,
}

impl Default for ParameterLimits {
    fn default() -> Self {
        Self { parameters_max: 100, name_bytes_max: 64, value_bytes_max: 1_024 }
    }
}

/// A request's parameters in their order, repeated names included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters<'r> {
    list: Vec<Parameter<'r>>,
    left_out: u32,
}

/// One parameter, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'r> {
    /// Its name; never empty.
    pub name: Cow<'r, str>,
    /// Its value; empty for `a=` and for `a`.
    pub value: Cow<'r, str>,
}

impl<'r> Parameters<'r> {
    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|parameter| parameter.name == name).map(|parameter| parameter.value.as_ref())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter<'r>> {
        self.list.iter()
    }

    /// Adds a parameter, or leaves it out if it has no name, its name or value is too long, or there
    /// are too many.
    pub fn push(&mut self, name: Cow<'r, str>, value: Cow<'r, str>, limits: &ParameterLimits) {
        let fits = self.list.len() < limits.parameters_max
            && (1..=limits.name_bytes_max).contains(&name.len())
            && value.len() <= limits.value_bytes_max;
        if fits {
            self.list.push(Parameter { name, value });
        } else {
            self.left_out += 1;
        }
    }

    /// Drops all parameters called `name`, as if they had not been sent.
    pub fn withhold(&mut self, name: &str) {
        self.list.retain(|parameter| parameter.name != name);
    }

    /// Leaves out all parameters called `name`.
    pub fn leave_out(&mut self, name: &str) {
        let before = self.list.len();
        self.withhold(name);
        self.left_out += u32::try_from(before - self.list.len()).unwrap_or(u32::MAX);
    }

    /// Counts parameters that the caller left out.
    pub fn note_left_out(&mut self, count: u32) {
        self.left_out += count;
    }

    /// How many were left out.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the limit is reached: further ones are left out.
    pub fn is_full(&self, limits: &ParameterLimits) -> bool {
        self.list.len() >= limits.parameters_max
    }
}
