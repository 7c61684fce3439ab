"""The programming languages that are told apart, with what shows them: names, file endings, patterns of their lines."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLanguage:
    """What is known of one language.

    Args:
        name: lower case, as fences write it.
        title: for people and prompts.
        names: other names.
        endings: of files, without the dot, or whole file names.
        family: how blocks, comments and strings are written: `indent`, `braces`, `words`, `markup`, `data`.
        evidence: pattern and weight, sought line by line.
    """

    name: str
    title: str
    names: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    family: str = "braces"
    evidence: tuple[tuple[str, float], ...] = ()


LANGUAGES: Final = (
    CodeLanguage(
        name="python",
        title="Python",
        names=("py", "python3", "py3"),
        endings=("py", "pyi", "pyw"),
        family="indent",
        evidence=(
            (r"^\s*(?:async )?def \w+\(.*(?:\)\s*(?:->.*)?:|,|\()\s*$", 4),
            (r"^\s*class \w+(?:\(.*\))?:\s*$", 4),
            (r"^\s*from [\w.]+ import ", 4),
            (r"^import [\w.]+(?: as \w+)?(?:, [\w.]+)*\s*$", 2),
            (r"^\s*(?:if|elif|for|while|with|try|except|else)\b[^{;]*:\s*(?:#.*)?$", 2),
            (r"\bself\.\w+|\b__\w+__\b|\bNone\b|\blambda \w+:", 1.5),
            (r"^\s*@\w[\w.]*(?:\(.*\))?\s*$", 0.5),
        ),
    ),
    CodeLanguage(
        name="javascript",
        title="JavaScript",
        names=("js", "node", "jsx", "ecmascript"),
        endings=("js", "mjs", "cjs", "jsx"),
        evidence=(
            (r"^\s*(?:export )?(?:const|let|var) [\w{\[][^:]*=", 2),
            (r"(?:^|[^\w.])(?:async )?function\*? ?\w*\(", 2),
            (r"=>\s*[{(\w]", 1.5),
            (r"\brequire\(['\"]|\bmodule\.exports\b|\bconsole\.\w+\(|\bdocument\.\w+", 4),
            (r"^\s*import .* from ['\"]", 2),
            (r"===|!==", 2),
        ),
    ),
    CodeLanguage(
        name="typescript",
        title="TypeScript",
        names=("ts", "tsx"),
        endings=("ts", "tsx", "mts", "cts"),
        evidence=(
            (r"^\s*(?:export )?interface \w+(?:<.*>)?(?: extends [\w, ]+)? \{", 4),
            (r"^\s*(?:export )?type \w+(?:<.*>)? =", 4),
            (r"[\w)\]?]\s*:\s*(?:string|number|boolean|unknown|any|void|never)\b", 3),
            (r"\bas (?:const|string|number|any)\b|\bimport type\b|\breadonly \w+:", 3),
            (r"^\s*(?:export )?(?:const|let) [\w{\[].*=", 1),
            (r"=>\s*[{(\w]", 1),
            (r"^\s*import .* from ['\"]", 1.5),
        ),
    ),
    CodeLanguage(
        name="java",
        title="Java",
        endings=("java",),
        evidence=(
            (r"^\s*(?:public|private|protected) (?:static |final |abstract )*(?:class|interface|enum|record) \w+", 4),
            (r"\bpublic static void main\(String", 6),
            (r"^import (?:static )?java[x]?\.[\w.]+;", 6),
            (r"^package [\w.]+;", 3),
            (r"\bSystem\.out\.print", 5),
            (r"^\s*@(?:Override|Test|Autowired)\b", 3),
            (r"^\s*(?:public|private|protected) (?:static |final )*[\w<>\[\]]+ \w+\(", 2.5),
        ),
    ),
    CodeLanguage(
        name="kotlin",
        title="Kotlin",
        names=("kt",),
        endings=("kt", "kts"),
        evidence=(
            (r"^\s*(?:private |public |override |suspend |inline )*fun (?:<.*> )?[\w.]+\(", 4),
            (r"^\s*(?:val|var) \w+\s*(?::\s*\w+\??)?\s*(?:=|by )", 2),
            (r"^\s*(?:data|sealed) class \w+", 4),
            (r"\bprintln\(|\?\.let \{|\?:|\bwhen \(.*\) \{", 1.5),
        ),
    ),
    CodeLanguage(
        name="c",
        title="C",
        endings=("c", "h"),
        evidence=(
            (r"^\s*#\s*include\s*<(?:std(?:io|lib|int|bool|def)|string|math|unistd|errno)\.h>", 5),
            (r"\b(?:printf|malloc|free|sizeof|memcpy|strlen)\s*\(", 2),
            (
                r"^\s*(?:static |const |unsigned )*(?:int|void|char|double|float|size_t)\s+\*?\w+\s*\([^)]*\)\s*\{?\s*$",
                3,
            ),
            (r"^\s*(?:typedef )?struct \w* ?\{|\w->\w", 2),
            (r"^\s*#\s*(?:define|ifdef|ifndef|endif)\b", 2),
        ),
    ),
    CodeLanguage(
        name="cpp",
        title="C++",
        names=("c++", "cxx", "cc"),
        endings=("cpp", "cxx", "cc", "hpp", "hxx", "hh"),
        evidence=(
            (r"^\s*#\s*include\s*<(?:iostream|vector|string|map|memory|algorithm|utility|functional|optional)>", 6),
            (r"\bstd::\w+", 4),
            (r"^\s*template\s*<", 4),
            (r"^\s*using namespace \w+;|^\s*namespace \w+", 4),
            (r"\b(?:cout|cerr)\s*<<|\bnullptr\b|\bauto&? \w+ (?:=|:)", 3),
            (r"^\s*(?:public|private|protected):\s*$", 3),
        ),
    ),
    CodeLanguage(
        name="csharp",
        title="C#",
        names=("c#", "cs"),
        endings=("cs",),
        evidence=(
            (r"^\s*using (?:System|Microsoft)[\w.]*;", 6),
            (r"^\s*namespace [\w.]+\s*[;{]?\s*$", 2),
            (r"\bConsole\.(?:Write|Read)", 5),
            (r"\{ get; (?:private |protected |init; )?(?:set; )?\}", 5),
            (r"^\s*(?:public|private|protected|internal) (?:static |async |override |readonly )*[\w<>\[\]?]+ \w+", 1.5),
        ),
    ),
    CodeLanguage(
        name="go",
        title="Go",
        names=("golang",),
        endings=("go",),
        evidence=(
            (r"^package \w+\s*$", 4),
            (r"^func (?:\(\w+ \*?\w+\) )?\w+\(.*\{\s*$", 4),
            (r"\w := ", 2),
            (r"\bfmt\.\w+\(|\bif err != nil\b|\bgo func\(|\bmake\(chan ", 4),
            (r"^type \w+ (?:struct|interface) \{", 4),
            (r"^import \(\s*$|^\s+\"[\w/.]+\"\s*$", 1.5),
        ),
    ),
    CodeLanguage(
        name="rust",
        title="Rust",
        names=("rs",),
        endings=("rs",),
        evidence=(
            (r"^\s*(?:pub(?:\(crate\))? )?(?:async )?fn \w+(?:<.*>)?\(", 4),
            (r"\blet mut \w+|^\s*use (?:std|crate|super)::", 4),
            (r"^\s*impl(?:<.*>)? \w+|^\s*#\[\w+", 4),
            (r"\b(?:println|vec|format|panic|assert_eq)!\s*[(\[]", 3),
            (r"&mut \w+|&str\b|\bOption<|\bResult<|\.unwrap\(\)", 2),
            (r"^\s*(?:pub )?(?:struct|enum|trait) \w+(?:<.*>)?\s*[{(;]", 2),
        ),
    ),
    CodeLanguage(
        name="swift",
        title="Swift",
        endings=("swift",),
        evidence=(
            (r"^import (?:Foundation|UIKit|SwiftUI)\s*$", 6),
            (r"^\s*(?:public |private |override |static )*func \w+\(.*\)(?: throws)?(?: -> [\w\[\]?]+)? \{", 3),
            (r"^\s*(?:guard|if) let \w+ = ", 4),
            (r"^\s*(?:let|var) \w+\s*(?::\s*[\w\[\]?]+)?\s*=", 1),
        ),
    ),
    CodeLanguage(
        name="ruby",
        title="Ruby",
        names=("rb",),
        endings=("rb", "rake", "gemspec", "Gemfile", "Rakefile"),
        family="words",
        evidence=(
            (r"^\s*def (?:self\.)?\w+[?!]?(?:\([^:]*\))?\s*$", 3),
            (r"^\s*end\s*$", 1.5),
            (r"\bdo \|[\w, ]+\|", 4),
            (r"^\s*require(?:_relative)? ['\"]", 3),
            (r"^\s*(?:puts|attr_(?:reader|writer|accessor)|include|unless|elsif)\b", 3),
            (r"@\w+ = |\.each\b|\.nil\?", 1.5),
        ),
    ),
    CodeLanguage(
        name="php",
        title="PHP",
        endings=("php", "phtml"),
        evidence=(
            (r"<\?php", 8),
            (r"\$\w+\s*(?:=|->|\[)", 2),
            (r"^\s*(?:public |private |protected |static )*function \w+\(.*\$", 4),
            (r"\becho ['\"$]", 2),
        ),
    ),
    CodeLanguage(
        name="lua",
        title="Lua",
        endings=("lua",),
        family="words",
        evidence=(
            (r"^\s*local (?:function )?\w+", 3),
            (r"^\s*(?:if|elseif|while) .* (?:then|do)\s*$", 2.5),
            (r"^\s*function [\w.:]+\(.*\)\s*$", 3),
            (r"~=|\.\.\s|\bnil\b|^\s*end[,)]?\s*$", 1),
        ),
    ),
    CodeLanguage(
        name="r",
        title="R",
        endings=("r", "R"),
        evidence=(
            (r"\w\s*<- ", 3),
            (r"\bfunction\(.*\)\s*\{", 1),
            (r"^\s*library\(\w+\)", 5),
            (r"%>%|\bdata\.frame\(|\bc\(", 2.5),
        ),
    ),
    CodeLanguage(
        name="julia",
        title="Julia",
        names=("jl",),
        endings=("jl",),
        family="words",
        evidence=(
            (r"^\s*function \w+\(.*\)(?:::\w+)?(?: where .*)?\s*$", 2.5),
            (r"^\s*using [A-Z]\w+(?:, \w+)*\s*$", 4),
            (r"::(?:Int|Float)\d*\b|\bprintln\(|^\s*end\s*$", 1),
        ),
    ),
    CodeLanguage(
        name="haskell",
        title="Haskell",
        names=("hs",),
        endings=("hs",),
        family="indent",
        evidence=(
            (r"^\w+ :: .*(?:->|IO|Int|String)", 5),
            (r"^module [\w.]+ (?:\(|where)", 4),
            (r"^import (?:qualified )?[A-Z][\w.]+", 2),
            (r"^data \w+.* =|\bwhere\s*$|<\$>|>>=", 2),
        ),
    ),
    CodeLanguage(
        name="bash",
        title="Bash",
        names=("sh", "shell", "zsh", "shellscript"),
        endings=("sh", "bash", "zsh"),
        family="words",
        evidence=(
            (r"^\s*(?:if|elif|while) \[\[? .*\]\]?\s*;?\s*(?:then|do)?\s*$", 5),
            (r"^\s*(?:fi|done|esac)\s*$", 3),
            (r"\$\{\w+[}:#%/-]|\$\(\w+|\"\$[\w@*]+\"", 2),
            (r"^\s*(?:echo|export|set -[a-z]+|cd|mkdir|grep|sudo|apt-get|curl) ", 1.5),
            (r"^\s*for \w+ in .*; do\s*$", 5),
        ),
    ),
    CodeLanguage(
        name="powershell",
        title="PowerShell",
        names=("ps1", "pwsh"),
        endings=("ps1", "psm1"),
        evidence=(
            (r"\b(?:Get|Set|New|Remove|Write|Invoke|Import|Out)-[A-Z]\w+", 3),
            (r"^\s*param\s*\(|\s-(?:eq|ne|gt|lt|like)\s", 2),
            (r"\$\w+\s*=", 0.5),
        ),
    ),
    CodeLanguage(
        name="sql",
        title="SQL",
        names=("postgresql", "mysql", "sqlite", "plpgsql"),
        endings=("sql",),
        family="data",
        evidence=(
            (
                r"(?i)^\s*(?:select\b.*|insert into|update \w+ set|delete from|create (?:table|index|view)|alter table)\b",
                4,
            ),
            (r"(?i)^\s*(?:from|where|group by|order by|(?:left |inner )?join)\b", 1.5),
            (r"(?i)\b(?:varchar|primary key|not null|references)\b", 2),
        ),
    ),
    CodeLanguage(
        name="html",
        title="HTML",
        names=("htm", "xhtml"),
        endings=("html", "htm"),
        family="markup",
        evidence=(
            (r"(?i)<!doctype html|<html\b", 8),
            (r"(?i)</?(?:div|p|span|body|head|a|ul|li|script|table)\b[^>]*>", 2),
        ),
    ),
    CodeLanguage(
        name="xml",
        title="XML",
        names=("svg",),
        endings=("xml", "svg", "xsd"),
        family="markup",
        evidence=((r"^\s*<\?xml ", 8), (r"<(\w+:\w+)[^>]*>|xmlns", 3)),
    ),
    CodeLanguage(
        name="css",
        title="CSS",
        names=("scss", "less"),
        endings=("css", "scss", "less"),
        evidence=(
            (r"^\s*[.#]?[\w-][\w\s.#,:>+~-]*\{\s*$", 0.5),
            (r"^\s*(?:color|margin|padding|display|font-\w+|background(?:-\w+)?|width|height|border)\s*:[^;]+;", 4),
            (r"^\s*@(?:media|import|keyframes)\b", 3),
        ),
    ),
    CodeLanguage(
        name="json",
        title="JSON",
        names=("jsonc",),
        endings=("json",),
        family="data",
        evidence=((r"^\s*\"[^\"]+\"\s*:\s*(?:[\[{\"\d-]|true|false|null)", 3), (r"\A\s*[{\[]\s*$", 1)),
    ),
    CodeLanguage(
        name="yaml",
        title="YAML",
        names=("yml",),
        endings=("yaml", "yml"),
        family="indent",
        evidence=((r"^---\s*$", 2), (r"^\s*(?:- )?[\w.-]+:(?: [^{};]*)?$", 1), (r"^\s*- [\w\"']", 0.5)),
    ),
    CodeLanguage(
        name="toml",
        title="TOML",
        endings=("toml",),
        family="data",
        evidence=((r"^\s*\[\[?[\w.\"-]+\]\]?\s*$", 3), (r"^[\w.-]+ = (?:[\"'\[{]|\d|true|false)", 1.5)),
    ),
    CodeLanguage(
        name="dockerfile",
        title="Dockerfile",
        names=("docker",),
        endings=("Dockerfile", "Containerfile"),
        family="data",
        evidence=(
            (r"^FROM [\w./:-]+(?: AS \w+)?\s*$", 5),
            (r"^(?:RUN|COPY|WORKDIR|ENTRYPOINT|CMD|EXPOSE|ENV) ", 2),
        ),
    ),
    CodeLanguage(
        name="makefile",
        title="Makefile",
        names=("make",),
        endings=("Makefile", "GNUmakefile", "mk"),
        family="data",
        evidence=(
            (r"^\.PHONY:", 6),
            (r"^[\w.%/-]+:(?: [\w.%/ -]+)?$", 1),
            (r"^\t(?:@|\$\()", 3),
            (r"^\w+ (?::|\?)= ", 2),
        ),
    ),
)

_BY_NAME: Final = {
    name: language for language in LANGUAGES for name in (language.name, language.title.lower(), *language.names)
}
#: By file ending, or whole file name.
BY_ENDING: Final = {ending: language for language in LANGUAGES for ending in language.endings}


def language_named(name: str) -> CodeLanguage | None:
    """The language of a name as fences and people write it, or None."""
    return _BY_NAME.get(name.strip().lower())
