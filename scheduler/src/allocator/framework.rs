//! What happens to frameworks and roles.

use weir_protocol::FrameworkId;
use weir_resources::Role;

use super::error::FrameworkError;
use super::kinds::Kinds;
use super::parties::Standing;
use super::state::Allocator;
use super::weight::Weight;

impl Allocator {
    /// Adds a framework, which is offered resources from now on.
    ///
    /// What it holds already on agents, it holds.
    pub fn add_framework(
        &mut self,
        framework: FrameworkId,
        role: &Role,
        kinds: Kinds,
    ) -> Result<(), FrameworkError> {
        if self.parties.member(framework).is_some() {
            return Err(FrameworkError::Known { framework });
        }
        let number = self.parties.number_or_stranger(framework);
        self.parties.join(number, role, kinds, Standing::Active);
        self.start_sweep();
        Ok(())
    }

    /// Changes the role of a framework, or which kinds it takes. It stays as active as it was, and of
    /// the same role it keeps its place.
    pub fn update_framework(
        &mut self,
        framework: FrameworkId,
        role: &Role,
        kinds: Kinds,
    ) -> Result<(), FrameworkError> {
        let number = self.framework_number(framework)?;
        if self.parties.role(number) == Some(role) {
            self.parties.set_kinds(number, kinds);
        } else {
            let standing = self.parties.standing(number).unwrap_or(Standing::Inactive);
            self.parties.join(number, role, kinds, standing);
        }
        self.start_sweep();
        Ok(())
    }

    /// Removes a framework. What it holds is held until it is recovered, and is nobody's share.
    pub fn remove_framework(&mut self, framework: FrameworkId) -> Result<(), FrameworkError> {
        let number = self.framework_number(framework)?;
        self.parties.leave(number);
        self.parties.forget(number);
        self.parties.drop_if_gone(number);
        Ok(())
    }

    /// Offers resources to a framework that has connected. It wants them, whatever it wanted before.
    pub fn activate_framework(&mut self, framework: FrameworkId) -> Result<(), FrameworkError> {
        let number = self.framework_number(framework)?;
        self.parties.set_standing(number, Standing::Active);
        self.start_sweep();
        Ok(())
    }

    /// Offers nothing more to a framework that has disconnected, and forgets what it refused.
    ///
    /// How often it was given something is remembered: to disconnect gains nothing.
    pub fn deactivate_framework(&mut self, framework: FrameworkId) -> Result<(), FrameworkError> {
        let number = self.framework_number(framework)?;
        self.parties.set_standing(number, Standing::Inactive);
        self.parties.forget(number);
        Ok(())
    }

    /// Offers nothing more to a framework until it is revived (SUPPRESS). What it refused it refuses.
    pub fn suppress(&mut self, framework: FrameworkId) -> Result<(), FrameworkError> {
        let number = self.framework_number(framework)?;
        match self.parties.standing(number) {
            Some(Standing::Active) => self.parties.set_standing(number, Standing::Suppressed),
            // One that is not there has nothing to say, and will want offers when it is.
            Some(Standing::Suppressed | Standing::Inactive) | None => {}
        }
        Ok(())
    }

    /// Offers everything again to a framework, whatever it refused (REVIVE).
    pub fn revive(&mut self, framework: FrameworkId) -> Result<(), FrameworkError> {
        let number = self.framework_number(framework)?;
        self.parties.forget(number);
        match self.parties.standing(number) {
            Some(Standing::Active | Standing::Suppressed) => {
                self.parties.set_standing(number, Standing::Active);
                self.start_sweep();
            }
            Some(Standing::Inactive) | None => {}
        }
        Ok(())
    }

    /// Sets how much of the cluster a role may have beside others, whether it has frameworks or not.
    pub fn set_weight(&mut self, role: &Role, weight: Weight) {
        self.parties.set_weight(role, weight);
    }

    fn framework_number(&self, framework: FrameworkId) -> Result<u32, FrameworkError> {
        self.parties
            .member(framework)
            .ok_or(FrameworkError::Unknown { framework })
    }

    fn start_sweep(&mut self) {
        self.agenda.start_sweep(self.agents.slots());
    }
}
