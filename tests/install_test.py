"""What an installation brings: the program, its manual page, completions for shells, and Slurm scripts that run.

Usage: python install_test.py BUILD_FOLDER [unittest arguments]
Shells and checkers that are not installed are skipped. What manual and completions must name is taken from --help.
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = ""
prefix = ""  # installed here for this run


def setUpModule():
    global prefix
    prefix = tempfile.mkdtemp(prefix="voxpop-install-")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
    os.environ["PATH"] = os.path.join(prefix, "bin") + os.pathsep + os.environ["PATH"]


def tearDownModule():
    shutil.rmtree(prefix)


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)


def output(*command, **options):
    result = run(*command, **options)
    if result.returncode != 0 or result.stderr:
        raise AssertionError(f"exit {result.returncode} of {command}: {result.stderr}")
    return result.stdout


def installed(*names):
    return os.path.join(prefix, "share", *names)


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"{program} is not installed")


def verbs():
    listing = output("voxpop", "--help").split("Subcommands:\n")[1].split("\n\n")[0]
    return re.findall(r"^  (\w\S*)", listing, re.MULTILINE)


def options_of(*verb):
    """Long option -> its choices, as --help lists them."""
    found = {}
    listed = r"^  (?:-\w,)?(--[\w-]+(?:,--[\w-]+)*)(?: \w+:\{(\S+)\})?"
    for names, choices in re.findall(listed, output("voxpop", *verb, "--help"), re.MULTILINE):
        for name in names.split(","):
            found[name] = choices.split(",") if choices else []
    return found


class Installation(unittest.TestCase):
    def test_program_runs(self):
        self.assertRegex(output("voxpop", "--version"), r"^voxpop \d+\.\d+\.\d+")
        self.assertEqual(shutil.which("voxpop"), os.path.join(prefix, "bin", "voxpop"))

    def test_licence_and_readme_come_along(self):
        self.assertLessEqual({"LICENSE", "README.md"}, set(os.listdir(installed("doc", "voxpop"))))

    def test_hidden_verbs_are_not_listed(self):
        self.assertFalse({"manual", "completion", "candidates"} & set(verbs()))


class Program(unittest.TestCase):
    """What SECURITY.md and docs/dependencies.md say of it."""

    @classmethod
    def setUpClass(cls):
        cls.path = os.path.join(prefix, "bin", "voxpop")
        with open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
            text = cache.read()
        release = re.search(r"^CMAKE_BUILD_TYPE:\w+=.*Rel", text, re.MULTILINE)
        cls.hardened = bool(release) and "VOXPOP_HARDENING:BOOL=ON" in text and "-fsanitize" not in text
        cls.source = re.search(r"^CMAKE_HOME_DIRECTORY:\w+=(.*)$", text, re.MULTILINE)[1]

    def test_hardening(self):
        if not self.hardened:
            self.skipTest("not a release build, or one with sanitizers")
        headers = output("readelf", "--wide", "--file-header", "--segments", "--dynamic", "--dyn-syms", self.path)
        self.assertRegex(headers, r"Type: +DYN")  # position-independent
        self.assertIn("GNU_RELRO", headers)
        self.assertRegex(headers, r"FLAGS.* (BIND_)?NOW")
        self.assertRegex(headers, r"GNU_STACK .* RW  ")
        self.assertIn("__stack_chk_fail", headers)
        self.assertRegex(headers, r"__\w+_chk\b")

    def test_no_path_of_the_build_is_in_it(self):
        with open(self.path, "rb") as program:
            self.assertNotIn(os.fsencode(self.source) + b"/", program.read())

    def test_libraries_are_those_listed(self):
        needed = re.findall(r"\(NEEDED\).*\[(lib[^.\]]+)", output("readelf", "--dynamic", self.path))
        names = {"hdf5_serial": "HDF5", "z": "zlib", "deflate": "libdeflate", "isal": "ISA-L", "tbb": "oneTBB", "fmt": "fmt",
                 "simdjson": "simdjson", "xxhash": "xxHash", "csv": "libcsv", "utf8proc": "utf8proc", "mpi": "Open MPI", "stdc++": "libstdc++",
                 "gcc_s": "libgcc", "c": "glibc", "m": "glibc"}
        with open(os.path.join(self.source, "docs", "dependencies.md")) as page:
            rows = [line.split("|")[1] for line in page if line.startswith("|")]
        for library in needed:
            name = names.get(library.removeprefix("lib"), library)
            self.assertTrue(any(name in row for row in rows), f"{library} is not in docs/dependencies.md")

    def test_it_starts_no_process_and_opens_no_socket(self):
        """Of our own code: the CUDA runtime, linked in, does what it does."""
        calls = set(re.findall(r" U (\w+)$", run("nm", "--undefined-only", os.path.join(BUILD, "src", "libvoxpop_core.a")).stdout,
                               re.MULTILINE))
        self.assertIn("pread", calls)
        wrong = [call for call in calls if re.fullmatch(
            r"system|popen|v?fork|exec\w+|posix_spawn\w*|socket|connect|getaddrinfo", call)]
        self.assertEqual(wrong, [])


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with gzip.open(installed("man", "man1", "voxpop.1.gz"), "rt") as page:
            cls.page = page.read()

    def format(self):
        command = ["groff", "-man", "-ww", "-Tascii", "-P-c", "-P-b", "-P-u", "-rLL=200n"]
        result = subprocess.run(command, input=self.page, capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def section(self, title):
        return re.search(rf"^{title}\n(.*?)(?=^\S|\Z)", self.format(), re.MULTILINE | re.DOTALL).group(1)

    @needs("groff")
    def test_names_every_verb_and_option_with_its_choices(self):
        for verb in verbs():
            section = self.section(f"VOXPOP {verb.upper()}")
            self.assertRegex(self.section("SYNOPSIS"), rf"(?m)^ +voxpop {verb} \[options\]")
            self.assertRegex(section, rf"(?m)^ +Example.*:\n\n +voxpop {verb}\b")
            for option, choices in options_of(verb).items():
                with self.subTest(verb=verb, option=option):
                    shown = rf" \{{{','.join(choices)}\}}" if choices else ""
                    self.assertRegex(section, rf"(?m)^ +(-\w, )?(--[\w-]+, )*{option}(, --[\w-]+)*{shown}( |$)")
        for option in options_of():
            self.assertIn(option, self.section("OPTIONS"))

    @needs("groff")
    def test_says_defaults_requirements_and_exit_codes(self):
        fit = self.section("VOXPOP FIT")
        self.assertRegex(fit, r"--max-iterations .*\n +.* Default: 200\.\n")
        self.assertRegex(fit, r"-o, --output TEXT\n +.* Required\.\n")
        self.assertRegex(self.section("VOXPOP SIMULATE"), r"--drift .*\n.* Needs --days\.\n")
        self.assertIn("130 interrupted", self.section("EXIT CODES"))

    @needs("mandoc")
    def test_is_clean_to_mandoc(self):
        result = subprocess.run(["mandoc", "-Tlint"], input=self.page, capture_output=True, text=True)
        # A date would differ from build to build; the version says what the page describes.
        complaints = [line for line in result.stdout.splitlines() if "missing date" not in line]
        self.assertEqual(complaints, [])


class Completion(unittest.TestCase):
    def bash(self, *words):
        """What bash offers in place of the last word."""
        script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _voxpop; printf "%s\n" "${COMPREPLY[@]}"'
        file = installed("bash-completion", "completions", "voxpop")
        return output("bash", "-c", script, "bash", file, "voxpop", *words).split()

    def zsh(self, *words):
        script = """
            compdef() {}
            _files() { print files }
            _describe() { print -l -- "${(@P)2}" }
            source $1
            shift
            words=("$@")
            CURRENT=$#
            _voxpop
        """
        file = installed("zsh", "site-functions", "_voxpop")
        lines = output("zsh", "-fc", script, "zsh", file, "voxpop", *words).splitlines()
        return [line.split(":")[0] for line in lines]

    def fish(self, *words):
        file = installed("fish", "vendor_completions.d", "voxpop.fish")
        script = f"source {file}; complete --do-complete '{' '.join(['voxpop', *words])}'"
        lines = output("fish", "--no-config", "-c", script, env=dict(os.environ, HOME=prefix)).splitlines()
        return [line.split("\t")[0] for line in lines]

    def check(self, complete):
        self.assertLess(set(verbs()), set(complete("")))
        self.assertEqual(complete("fi"), ["fit"])
        self.assertEqual(complete("fit", "--mo"), ["--model"])
        self.assertEqual(set(complete("fit", "--model", "")), {"bt", "crowd-bt", "rater"})
        self.assertEqual(complete("evaluate", "--models", "bt,cr"), ["bt,crowd-bt"])

    def test_bash(self):
        self.check(self.bash)

    def test_bash_offers_every_option_and_choice(self):
        for verb in verbs():
            self.assertEqual(set(self.bash(verb, "--")), set(options_of(verb)), verb)
            for option, choices in options_of(verb).items():
                self.assertEqual(self.bash(verb, option, "") if choices else [], choices, (verb, option))

    def test_bash_parts_words_at_equals_signs(self):
        self.assertEqual(self.bash("fit", "--model", "=", "ra"), ["rater"])
        self.assertEqual(self.bash("fit", "--ties", "="), ["model", "half", "drop"])

    def test_bash_leaves_files_to_bash(self):
        self.assertEqual(self.bash("fit", "vo"), [])
        self.assertEqual(self.bash("fit", "-o", ""), [])

    @needs("zsh")
    def test_zsh(self):
        self.check(self.zsh)
        self.assertEqual(self.zsh("fit", "--model=ra"), ["--model=rater"])
        self.assertEqual(self.zsh("fit", "vo"), ["files"])

    @needs("fish")
    def test_fish(self):
        self.check(self.fish)
        self.assertEqual(self.fish("fit", "--model=ra"), ["--model=rater"])
        self.assertEqual(self.fish("fit", f"{prefix}/sh"), [f"{prefix}/share/"])


class Slurm(unittest.TestCase):
    """The scripts, with an srun that runs its command here."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=prefix)
        listing = 'if [[ $1 == --mpi=list ]]; then echo "MPI plugin types are... $MPI_TYPES" >&2; exit; fi\n'
        self.stand_in("srun", listing + 'while [[ $1 == --* ]]; do echo "$1" >> srun.log; shift; done\nexec "$@"\n')
        self.stand_in("mpirun", 'echo "$1 $2" > mpirun.log; shift 2; exec "$@"\n')
        for name in ("monday.h5", "tuesday.h5"):
            output("voxpop", "simulate", name, "--prompts", "50", "--annotators", "5", cwd=self.folder)

    def stand_in(self, name, script):
        with open(os.path.join(self.folder, name), "w") as file:
            file.write("#!/bin/bash\n" + script)
        os.chmod(file.name, 0o755)

    def log(self, name):
        with open(os.path.join(self.folder, name)) as file:
            return file.read().splitlines()

    def submit(self, script, *arguments, **variables):
        path = self.folder + os.pathsep + os.environ["PATH"]
        environment = dict(os.environ, PATH=path, SLURM_CPUS_PER_TASK="1", SLURM_JOB_ID="7", SLURM_ARRAY_JOB_ID="7", **variables)
        return run(installed("voxpop", "slurm", script), *arguments, cwd=self.folder, env=environment)

    def provenance(self, name):
        return output("voxpop", "info", os.path.join(self.folder, name))

    def test_cpu(self):
        result = self.submit("fit_cpu.sbatch", "monday.h5", "tuesday.h5", "-o", "fit.h5", "--model", "bt")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("--model bt --device cpu --threads 1", self.provenance("fit.h5"))
        self.assertIn("--cpus-per-task=1", self.log("srun.log"))

    def test_gpu(self):
        result = self.submit("fit_gpu.sbatch", "monday.h5", "-o", "fit.h5")
        if result.returncode == 6:
            self.assertFalse(os.path.exists(os.path.join(self.folder, "fit.h5")))
            self.skipTest(f"no GPU: {result.stderr.strip()}")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("--device cuda --threads 1", self.provenance("fit.h5"))

    def test_mpi_by_srun(self):
        result = self.submit("fit_mpi.sbatch", "monday.h5", "-o", "fit.h5", "--model", "bt", MPI_TYPES="none pmix pmi2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("--model bt --device cpu --threads 1", self.provenance("fit.h5"))
        self.assertEqual(self.log("srun.log"), ["--mpi=pmix", "--kill-on-bad-exit=1", "--cpus-per-task=1"])

    def test_mpi_by_mpirun(self):
        result = self.submit("fit_mpi.sbatch", "monday.h5", "-o", "fit.h5", "--model", "bt", MPI_TYPES="none pmi2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("--model bt --device cpu --threads 1", self.provenance("fit.h5"))
        self.assertEqual(self.log("mpirun.log"), ["--bind-to none"])

    def test_multi_gpu(self):
        self.stand_in("voxpop", 'echo "$*"\n')
        result = self.submit("fit_multi_gpu.sbatch", "monday.h5", "-o", "fit.h5", MPI_TYPES="pmix")
        call = "fit monday.h5 -o fit.h5 --device cuda --threads 1 --checkpoint voxpop-7.checkpoint\n"
        self.assertEqual((result.returncode, result.stdout), (0, call))
        flags = ["--mpi=pmix", "--kill-on-bad-exit=1", "--gpus-per-task=1", "--cpus-per-task=1"]
        self.assertEqual(self.log("srun.log"), flags)

    def test_array(self):
        files = ["monday.h5", "tuesday.h5"]
        for task, file in enumerate(files, start=1):
            arguments = ["fits", *files, "--", "--model", "bt"]
            result = self.submit("fit_array.sbatch", *arguments, SLURM_ARRAY_TASK_ID=str(task))
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(f"fit {file} -o fits/{file} --model bt", self.provenance(f"fits/{file}"))

    def test_wrong_use_is_told(self):
        cases = [
            ("fit_cpu.sbatch", [], {}, "no votes given"),
            ("fit_gpu.sbatch", [], {}, "no votes given"),
            ("fit_mpi.sbatch", [], {}, "no votes given"),
            ("fit_multi_gpu.sbatch", [], {}, "no votes given"),
            ("fit_multi_gpu.sbatch", ["monday.h5", "-o", "fit.h5"], {"MPI_TYPES": "none pmi2"}, "no PMIx"),
            ("fit_array.sbatch", ["fits"], {"SLURM_ARRAY_TASK_ID": "1"}, "no votes given"),
            ("fit_array.sbatch", ["fits", "monday.h5"], {}, "not a job array"),
            ("fit_array.sbatch", ["fits", "monday.h5"], {"SLURM_ARRAY_TASK_ID": "2"}, "they are 1 to 1"),
            ("fit_array.sbatch", ["fits", "a/x.h5", "b/x.h5"], {"SLURM_ARRAY_TASK_ID": "1"}, "same name"),
        ]
        for script, arguments, variables, problem in cases:
            with self.subTest(script, arguments=arguments):
                result = self.submit(script, *arguments, **variables)
                self.assertEqual((result.returncode, result.stdout), (2, ""))
                self.assertRegex(result.stderr, rf"^{script}: .*{problem}.*: sbatch .*\n$")

    @needs("shellcheck")
    def test_shellcheck(self):
        folder = installed("voxpop", "slurm")
        for script in os.listdir(folder):
            self.assertEqual(output("shellcheck", os.path.join(folder, script)), "")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    BUILD = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
