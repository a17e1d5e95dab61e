//! `pelton init`: writes a small new project that runs as it is.

use crate::args::Init;
use crate::files;
use crate::print::{Out, pages};
use pelton_base::{Report, Reports};

pub(crate) fn init(args: &Init, out: &Out) -> Result<u8, Reports> {
    let folder = std::path::absolute(&args.dir).map_err(|error| files::unreadable("find", &args.dir, &error))?;
    if !files::is_empty(&folder)? {
        let shown = args.dir.display();
        return Err(Report::error("folder-not-empty", format!("folder `{shown}` is not empty"))
            .note("nothing was written")
            .hint("pelton init my_project")
            .into());
    }
    let name = folder.file_name().map_or("project".into(), |name| name.to_string_lossy().into_owned());
    let written = pelton_project::init_files(&name);
    for (path, text) in &written {
        files::write(&folder.join(path), text)?;
    }
    let paths: Vec<&str> = written.iter().map(|(path, _)| *path).collect();
    if args.answer.is_json() {
        out.json(&serde_json::json!({ "project": name, "folder": folder, "files": paths }));
    } else {
        out.data(pages::init(&args.dir, &name, &paths, out.data_style));
    }
    Ok(0)
}
