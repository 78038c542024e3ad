"""What people type: settings (the only room that knows Hydra), commands, sweeps, the doctor."""
