//! The roles that a process may have.

/// Which parts a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All of them.
    Up,
    Tracker,
    Consumer,
    ProgramBridge,
    ActiveMqBridge,
}

impl Role {
    /// The subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Tracker => "tracker",
            Self::Consumer => "consumer",
            Self::ProgramBridge => "bridge programs",
            Self::ActiveMqBridge => "bridge activemq",
        }
    }

    pub fn tracks(self) -> bool {
        matches!(self, Self::Up | Self::Tracker)
    }

    pub fn consumes(self) -> bool {
        matches!(self, Self::Up | Self::Consumer)
    }

    /// Whether events are appended here, and so taken to a stream if one is configured.
    pub fn ships(self) -> bool {
        self.tracks() || self == Self::ActiveMqBridge
    }

    /// Whether core data goes from the log into the registry here.
    pub fn bridges_programs(self) -> bool {
        matches!(self, Self::Up | Self::ProgramBridge)
    }

    /// Whether messages of the configured queues are read here.
    pub fn bridges_activemq(self) -> bool {
        matches!(self, Self::Up | Self::ActiveMqBridge)
    }
}
