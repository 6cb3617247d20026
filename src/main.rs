//! The command line of AutoXen.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use autoxen::cli::{self, Command};
use autoxen::commands::{
    check, collect, completions, create, destroy, domain, image, key, list, man, plan, policy,
    prepare, run, sign, verify, wait,
};
use autoxen::failure::Failure;
use autoxen::interrupt;
use autoxen::progress;
use autoxen::report::Talk;

fn main() -> ExitCode {
    let cli = cli::parse();
    let talk = Talk::new(cli.every.color);
    progress::install(cli.every.progress);
    interrupt::install();
    let result = match &cli.command {
        Command::Check(args) => check::run(args, talk),
        Command::Plan(args) => plan::run(args, talk).map(|()| ExitCode::SUCCESS),
        Command::Prepare(args) => prepare::run(args, talk).map(|()| ExitCode::SUCCESS),
        Command::Run(args) => run::run(args, talk),
        Command::Create(args) => create::run(args, talk).map(|()| ExitCode::SUCCESS),
        Command::Wait(args) => wait::run(args, talk).map(|()| ExitCode::SUCCESS),
        Command::List(args) => list::run(args, talk).map(|()| ExitCode::SUCCESS),
        Command::Destroy(args) => destroy::run(args, talk).map(|()| ExitCode::SUCCESS),
        Command::Policy(args) => policy::run(args, talk).map(|()| ExitCode::SUCCESS),
        Command::Collect(args) => collect::run(args, talk),
        Command::Domain(args) => domain::run(args).map(|()| ExitCode::SUCCESS),
        Command::Image(args) => image::run(args, talk),
        Command::Key(args) => key::run(args).map(|()| ExitCode::SUCCESS),
        Command::Sign(args) => sign::run(args, talk).map(|()| ExitCode::SUCCESS),
        Command::Verify(args) => verify::run(args).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => completions::run(*shell).map(|()| ExitCode::SUCCESS),
        Command::Man { directory } => man::run(directory).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|failure| {
        talk.failure(&failure);
        match failure {
            Failure::Interrupted { .. }
            | Failure::InterruptedBundles { .. }
            | Failure::InterruptedCopy { .. } => ExitCode::from(130),
            _ => ExitCode::from(2),
        }
    })
}
