//! The skill: how an assistant works with the tools, in the Agent Skills format, served through the skills extension.

use std::sync::LazyLock;

use rmcp::model::{ResourceContents, Skill, SkillFrontmatter, SkillResource, SkillResources, sha256_digest};

/// The text of the skill.
pub const SKILL: &str = include_str!("../skill/greentune/SKILL.md");

/// Where it is read.
const URI: &str = "skill://greentune/SKILL.md";
const MIME_TYPE: &str = "text/markdown";

static SKILLS: LazyLock<Vec<Skill>> = LazyLock::new(|| {
    let frontmatter = SkillFrontmatter::new(field("name"), field("description"));
    let file = SkillResource::from_bytes(URI, SKILL.as_bytes());
    vec![Skill::new(URI, frontmatter, SkillResources::Files(vec![file]))]
});

/// The digest of a text: `sha256:` and 64 hexadecimal digits.
pub fn skill_digest(text: &str) -> String {
    sha256_digest(text.as_bytes())
}

/// The skills that the server has.
pub(crate) fn skills() -> Vec<Skill> {
    SKILLS.clone()
}

/// The skill at `uri`; none when there is none.
pub(crate) fn find(uri: &str) -> Option<Skill> {
    SKILLS.iter().find(|skill| skill.uri == uri).cloned()
}

/// The file of a skill at `uri`; none when there is none.
pub(crate) fn read(uri: &str) -> Option<ResourceContents> {
    (uri == URI).then(|| ResourceContents::text(SKILL, URI).with_mime_type(MIME_TYPE))
}

/// A field of the frontmatter, each of which is one line of plain text.
fn field(name: &str) -> &'static str {
    let lines = SKILL.lines().skip(1).take_while(|line| *line != "---");
    lines.into_iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use greentune_workbench::operation::OPERATIONS;

    use super::*;
    use crate::tools;

    #[test]
    fn the_skill_is_what_the_formats_ask_for() {
        let skills = skills();
        assert_eq!(skills.len(), 1);
        for skill in &skills {
            assert_eq!(skill.validate(), Ok(()));
            assert_eq!(find(&skill.uri).as_ref(), Some(skill));
        }
        let description = field("description");
        assert!(description.len() > 100 && description.chars().count() <= 1024, "{description}");
        // A colon with a space would make the plain line a map in YAML, a `#` behind a space a comment.
        assert!(!description.contains(": ") && !description.contains(" #"));
        assert!(SKILL.starts_with("---\nname: greentune\ndescription: "));
        assert!(SKILL.lines().count() <= 150);
    }

    #[test]
    fn its_file_is_read_by_its_address_alone() {
        let SkillResources::Files(files) = &skills()[0].resources else { panic!("the files are listed") };
        let Some(ResourceContents::TextResourceContents { text, uri, .. }) = read(&files[0].uri) else {
            panic!("the file is text")
        };
        assert_eq!((uri, files[0].verify(text.as_bytes())), (files[0].uri.clone(), Ok(())));
        for other in ["skill://greentune/", "skill://other/SKILL.md", "run://a/manifest", ""] {
            assert!(read(other).is_none() && find(other).is_none(), "{other}");
        }
    }

    /// What looks like the name of a tool is one, and no tool for a conversation is forgotten.
    #[test]
    fn the_skill_names_the_tools_that_there_are() {
        let words = |text: &'static str| {
            text.split('`')
                .skip(1)
                .step_by(2)
                .flat_map(|code| code.split(|c: char| !c.is_ascii_lowercase() && c != '_'))
        };
        let named: Vec<_> = words(SKILL).collect();
        for operation in OPERATIONS {
            let is_tool = tools::offered().any(|offered| offered.name == operation.name);
            assert!(is_tool || !named.contains(&operation.name), "{} is no tool", operation.name);
        }
        for needed in [
            "prepare_dataset",
            "plan_training",
            "start_training",
            "resume_training",
            "evaluate_model",
            "export_model",
            "create_model_card",
            "compare_runs",
            "sync_model",
        ] {
            assert!(tools::offered().any(|offered| offered.name == needed), "{needed} is no tool");
            assert!(named.contains(&needed), "{needed} is not explained");
        }
    }
}
