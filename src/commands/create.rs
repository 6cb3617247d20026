//! `autoxen create`: start the domain of a bundle, as the site's policy allows it.

use crate::cli::{CreateArgs, SiteArgs};
use crate::commands::wait;
use crate::create::{self, Ask, Site};
use crate::domain::xl::Config;
use crate::failure::Result;
use crate::policy::Passed;
use crate::progress::Progress;
use crate::report::{self, Talk};

/// Who asks, under which policy; from here on this process has nothing of its caller's.
pub(super) fn site(args: &SiteArgs) -> Result<Site> {
    let site = Site::find(args.policy.as_deref(), args.user.as_deref())?;
    create::tidy()?;
    Ok(site)
}

/// Start it, or say why not.
pub fn run(args: &CreateArgs, talk: Talk) -> Result<()> {
    // A relative path is one of the caller's directory, which is left behind.
    let bundle = create::absolute(&args.bundle)?;
    let site = site(&args.site)?;
    let ask = Ask { bundle, name: args.name.clone(), prefix: args.prefix };
    let checked = site.check(&ask)?;
    let progress = Progress::new(args.quiet);
    if args.dry_run {
        let (config, passed) = checked.compare(progress)?;
        return shown(&config, &passed, args.json);
    }
    let record = checked.start(&site.policy, progress)?;
    if args.json {
        report::print_json(&record)?;
    } else {
        report::print(&format!("{}\n", record.name))?;
    }
    if args.wait {
        return wait::until_home(&site, &record.name, false, None, progress, talk);
    }
    talk.note(&format!(
        "`sudo autoxen wait {}` returns when it has gone, with its results",
        record.name
    ));
    Ok(())
}

fn shown(config: &Config, passed: &[Passed], json: bool) -> Result<()> {
    if json {
        return report::print_json(&serde_json::json!({
            "config": config.to_string(),
            "passed": passed,
        }));
    }
    let mut text = config.to_string();
    text.push('\n');
    for passed in passed {
        text.push_str(&format!("# {}: {} ({})\n", passed.rule, passed.wanted, passed.allowed));
    }
    report::print(&text)
}
