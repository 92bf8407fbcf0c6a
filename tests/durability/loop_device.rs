//! A file system on a loop device, whose backing file is what a power cut leaves.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The size of the backing file: room for the data, quick to copy.
const IMAGE_BYTES: u64 = 64 * 1024 * 1024;

/// Nothing reaches the device of itself within a test, in seconds: neither metadata nor, with that, delayed data.
const MOUNT_OPTIONS: &str = "commit=300";

/// How often to copy the image until nothing was written meanwhile.
const COPIES_MAX: usize = 100;

/// A mounted file system, taken away when dropped.
pub struct Mounted {
    device: String,
    image: PathBuf,
    /// Kept until all else is gone.
    home: TempDir,
}

impl Mounted {
    /// Makes an ext4 file system, or says that a test was skipped, and why.
    pub fn new_or_skip(test: &str) -> Option<Self> {
        match Self::new() {
            Ok(mounted) => Some(mounted),
            Err(problem) => {
                println!("{test}: SKIPPED, because no file system can be mounted here: {problem}");
                None
            }
        }
    }

    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may".to_owned());
        }
        let home = tempfile::tempdir().unwrap();
        let image = home.path().join("image");
        File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).unwrap();
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()])?;
        Self::mount(home, image)
    }

    fn mount(home: TempDir, image: PathBuf) -> Result<Self, String> {
        let device = run("losetup", &["--find", "--show", image.to_str().unwrap()])?;
        fs::create_dir(home.path().join("mounted")).unwrap();
        let mounted = Self { device, image, home };
        run("mount", &["-t", "ext4", "-o", MOUNT_OPTIONS, &mounted.device, mounted.path().to_str().unwrap()])?;
        Ok(mounted)
    }

    /// Where its files are.
    pub fn path(&self) -> PathBuf {
        self.home.path().join("mounted")
    }

    /// Copies what the device holds at one moment. What the system still keeps in memory is not in it.
    pub fn cut(&self) -> Cut {
        let home = tempfile::tempdir().unwrap();
        let image = home.path().join("image");
        for _ in 0..COPIES_MAX {
            let before = self.written();
            fs::copy(&self.image, &image).unwrap();
            if self.written() == before {
                return Cut { home, image };
            }
        }
        panic!("the device did not come to rest while the program was stopped");
    }

    /// What the kernel counts: writes begun and ended, bytes, and what is in flight.
    fn written(&self) -> String {
        let name = Path::new(&self.device).file_name().unwrap();
        let stat = fs::read_to_string(Path::new("/sys/block").join(name).join("stat")).unwrap();
        stat.split_whitespace().skip(4).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = run("umount", &[self.path().to_str().unwrap()]);
        let detached = run("losetup", &["--detach", &self.device]);
        for problem in [unmounted, detached].into_iter().filter_map(Result::err) {
            eprintln!("left behind: {problem}");
        }
    }
}

/// What a power cut left.
pub struct Cut {
    home: TempDir,
    image: PathBuf,
}

impl Cut {
    /// Mounts it, as a machine does that starts again.
    pub fn mount(self) -> Mounted {
        Mounted::mount(self.home, self.image).unwrap()
    }
}

/// Runs a program, and returns what it says.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error: io::Error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
