//! `committee completions`.

use clap::CommandFactory;

use super::{Cli, output};
use crate::error::Result;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  committee completions bash > ~/.local/share/bash-completion/completions/committee\n  committee completions zsh > ~/.zfunc/_committee"
)]
pub struct Arguments {
    /// Shell to write for
    shell: clap_complete::Shell,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "committee", &mut script);
    output::print(&String::from_utf8_lossy(&script));
    Ok(())
}
