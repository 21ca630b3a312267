//! Where MCP clients keep their settings, and how they start this program.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::Environment;

/// A folder in which programs keep settings.
#[derive(Clone, Copy, Debug)]
pub enum Base {
    /// The home folder.
    Home,
    /// Where applications with a window keep theirs: `~/.config`, `~/Library/Application Support`, `%APPDATA%`.
    Applications,
    /// `~/.config` on every system, or what `XDG_CONFIG_HOME` says.
    DotConfig,
    /// `~/.config`, on Linux too what `XDG_CONFIG_HOME` says, on Windows `%APPDATA%`.
    DotConfigOrRoaming,
}

impl Environment {
    /// A folder of settings; none when the home folder is not known.
    pub fn base(&self, base: Base) -> Option<PathBuf> {
        self.base_on(base, env::consts::OS)
    }

    fn base_on(&self, base: Base, system: &str) -> Option<PathBuf> {
        let home = self.user_home.as_ref()?;
        let roaming = || self.folder_in("APPDATA").unwrap_or_else(|| home.join("AppData/Roaming"));
        let dot_config = || self.folder_in("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        Some(match (base, system) {
            (Base::Home, _) => home.clone(),
            (Base::Applications, "macos") => home.join("Library/Application Support"),
            (Base::DotConfigOrRoaming, "macos") => home.join(".config"),
            (Base::Applications | Base::DotConfigOrRoaming, "windows") => roaming(),
            (Base::Applications | Base::DotConfig | Base::DotConfigOrRoaming, _) => dot_config(),
        })
    }

    /// The absolute path in the variable `name`.
    pub fn folder_in(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// The path by which another program starts this one: as `PATH` has it where it does, since that outlives an upgrade,
    /// else where it is.
    pub fn program_for_others(&self) -> PathBuf {
        let name = format!("greentune{}", env::consts::EXE_SUFFIX);
        let same =
            |path: &Path| std::fs::canonicalize(path).is_ok_and(|path| path == self.resolved_program());
        let folders = self.variable("PATH").map(env::split_paths).into_iter().flatten();
        let in_path = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(&name));
        in_path.into_iter().find(|path| same(path)).unwrap_or_else(|| self.program.clone())
    }

    fn resolved_program(&self) -> PathBuf {
        std::fs::canonicalize(&self.program).unwrap_or_else(|_| self.program.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::environment, *};

    fn base(variables: &[(&str, &str)], base: Base, system: &str) -> PathBuf {
        environment(variables).base_on(base, system).unwrap_or_default()
    }

    #[test]
    fn each_system_has_its_own_folders() {
        let variables = &[("APPDATA", "/roaming"), ("XDG_CONFIG_HOME", "/xdg")];
        for (kind, linux, mac, windows) in [
            (Base::Home, "/home/ada", "/home/ada", "/home/ada"),
            (Base::Applications, "/xdg", "/home/ada/Library/Application Support", "/roaming"),
            (Base::DotConfig, "/xdg", "/xdg", "/xdg"),
            (Base::DotConfigOrRoaming, "/xdg", "/home/ada/.config", "/roaming"),
        ] {
            let of = |system| base(variables, kind, system);
            assert_eq!([of("linux"), of("macos"), of("windows")], [linux, mac, windows].map(PathBuf::from));
        }
        assert_eq!(base(&[], Base::Applications, "linux"), Path::new("/home/ada/.config"));
        assert_eq!(
            base(&[("XDG_CONFIG_HOME", "x")], Base::DotConfig, "linux"),
            Path::new("/home/ada/.config")
        );
        assert_eq!(base(&[], Base::Applications, "windows"), Path::new("/home/ada/AppData/Roaming"));
    }

    #[cfg(unix)]
    #[test]
    fn others_start_the_program_as_the_path_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (versioned, bin) = (folder.path().join("0.1.0"), folder.path().join("bin"));
        for made in [&versioned, &bin] {
            std::fs::create_dir(made).unwrap();
        }
        let program = versioned.join("greentune");
        std::fs::write(&program, "").unwrap();
        std::os::unix::fs::symlink(&program, bin.join("greentune")).unwrap();
        let path = format!("relative:{}", bin.display());
        let mut linked = environment(&[("PATH", &path)]);
        linked.program.clone_from(&program);
        assert_eq!(linked.program_for_others(), bin.join("greentune"));
        // Another program of that name in PATH is not this one.
        linked.program = folder.path().join("target/greentune");
        assert_eq!(linked.program_for_others(), linked.program);
    }
}
