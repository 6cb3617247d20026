//! `autoxen destroy`: end one's own domain at once.

use crate::cli::DestroyArgs;
use crate::commands::create::site;
use crate::failure::Result;
use crate::report::Talk;

/// End it.
pub fn run(args: &DestroyArgs, talk: Talk) -> Result<()> {
    let site = site(&args.site)?;
    let name = &args.name;
    let was_there = site.destroy(name, args.discard)?;
    let what = if was_there { "is destroyed" } else { "had ended already" };
    talk.note(&match args.discard {
        true => format!("`{name}` {what}, and what it had written is thrown away"),
        false => {
            format!("`{name}` {what}; `sudo autoxen wait {name}` brings home what it has written")
        }
    });
    Ok(())
}
