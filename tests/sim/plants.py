#!/usr/bin/python3
"""Plants bugs into a copy of the sources and demands that the simulator finds each of them.

    plants.py SOURCE_ROOT [NAME...]

Each plant is a file, a text that must occur in it exactly once, and what replaces it. A plant whose
text is gone fails, too: then nobody knows any more what it proved.
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

SEEDS = 40000
STEPS = 2000
FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-O1", "-w", "-DLOCKSTEP_VERSION=\"plants\""]
FOLDERS = ["base", "core", "ledger", "engine"]
LIBRARIES = ["-lxxhash", "-llmdb", "-lpcre2-8", "-lpthread"]

PLANTS = [
    ("a nack loses its mark", "src/engine/report.c",
     "		flight_back(e, f, i, m->action == MARK_META ? MARK_QUICK : m->action, m->link != 0,\n"
     "		            now_ns);",
     "		batch_drop(f->batch, i, now_ns);"),
    ("nothing is intended before it is sent", "src/engine/flight.c",
     "int r = n ? ledger_intend(e->ledger, paths, n) : 0;",
     "int r = 0;"),
    ("an intent that was sent is withdrawn", "src/engine/report.c",
     "	case WIRE_UNKNOWN:\n",
     "	case WIRE_UNKNOWN:\n		ledger_withdraw(e->ledger, m->path);\n"),
    ("no answer passes for a confirmation", "src/engine/report.c",
     "	case WIRE_UNKNOWN:\n",
     "	case WIRE_UNKNOWN:\n		batch_ack(f->batch, i, now_ns);\n		return;\n"),
    ("a zombie's paths are not sent again", "src/engine/zombie.c",
     "		engine_put_look(e, p->mark.path, p->mark.born, p->mark.since_ns, true, now_ns);\n", ""),
    ("what is above a zombie's paths is not looked at", "src/engine/zombie.c",
     "	while (above.path.n) {", "	while (false) {"),
    ("deletions go without a proof", "src/engine/trust.c",
     "	return !trust_stamps(e) || (e->proven_ns && now_ns - e->proven_ns <= PROOF_NS);",
     "	return true;"),
    ("a missing stamp is overlooked", "src/engine/trust.c",
     "	if (f->proof != trust_proof(e))\n		return; /* of an earlier target */",
     "	return;"),
    ("exclusive marks in flight exclude nothing", "src/core/mark.h",
     "	return m->action != MARK_LOOK && (m->action == MARK_DELETE ||",
     "	return m->action == MARK_LOOK && (m->action == MARK_DELETE ||"),
    ("a merge keeps the younger born", "src/core/mark.c",
     "	if (next->born < into->born)", "	if (next->born > into->born)"),
    ("collapsing forgets how old its marks are", "src/core/collapse.c",
     "		mark_merge(&merged, &e->mark);\n", "		merged.born = e->mark.born;\n"),
    ("what was not sent is taken for done", "src/engine/report.c",
     "	case WIRE_UNSENT:\n",
     "	case WIRE_UNSENT:\n		batch_ack(f->batch, i, now_ns);\n		return;\n"),
    ("intents of an earlier run are no zombies", "src/engine/engine.c",
     "	zombie_add(s->e, 0, &m, s->now_ns);\n", "	(void)m;\n"),
    ("a deletion is sent for a name the ledger does not hold", "src/engine/flight.c",
     "	return ret_known->state != LEDGER_ABSENT && ", "	return "),
    ("what was confirmed lately is forgotten by a restart", "src/engine/trust.c",
     "	e->config.recents->each(e->config.recents, trust_recall_one, e);\n", ""),
    ("an outage compares nothing", "src/engine/trust.c",
     "		if (r->at_ns >= from_ns &&", "		if (false &&"),
    ("a look's end ends a failure that came meanwhile", "src/engine/failure.c",
     "	if (f && !f->waiting)\n		failure_free(e, f);",
     "	if (f)\n		failure_free(e, f);"),
    ("the brake does not count what is under way", "src/engine/loss.c",
     " + loss_going(e);\n	char rule", ";\n	char rule"),
    ("a deletion goes by the type that its mark remembers", "src/engine/flight.c",
     "		flags = S_ISDIR(known) && !e->types_unsure ? WIRE_ITEM_DIR : 0;\n", ""),
    ("a zombie may write what is confirmed meanwhile, and a restart forgets it",
     "src/engine/confirm.c",
     "		sweep_deleted(e, f, m->path);\n		zombie_intend(e, m->path, true);",
     "		sweep_deleted(e, f, m->path);"),
    ("something else is sent at a former name while it is listed", "src/engine/rename.c",
     "		if (o && o->flight)\n			return true;", "		(void)o;"),
    ("a former name is not intended", "src/engine/rename.c",
     "	(void)ledger_intend(e->ledger, &path, 1); /* a failure was told for the members */\n", ""),
]


def run(*args, **more):
    return subprocess.run(args, capture_output=True, text=True, check=False, **more)


class Build:
    """Objects of the unchanged sources, as archives from which the linker takes what it needs."""

    def __init__(self, root, folder):
        self.root, self.folder = root, folder
        sources = []
        for name in FOLDERS:
            path = os.path.join(root, "src", name)
            sources += [os.path.join("src", name, f) for f in sorted(os.listdir(path))
                        if f.endswith(".c")]
        sources += ["src/source/verdict.c", "src/rsync/tempname.c", "src/worker/wire.c"]
        self.main = [os.path.join("tests/sim", f)
                     for f in sorted(os.listdir(os.path.join(root, "tests/sim")))
                     if f.endswith(".c")]
        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(self.compile, sources + self.main))
        self.objects = dict(zip(sources + self.main, objects))
        self.archive = os.path.join(folder, "all.a")
        done = run("ar", "rcs", self.archive, *[self.objects[s] for s in sources])
        if done.returncode:
            raise RuntimeError(done.stderr)

    def compile(self, source, text=None, tag="", include=None):
        out = os.path.join(self.folder, tag + re.sub("[/.]", "_", source) + ".o")
        path = os.path.join(self.root, source)
        if text is not None:
            path = os.path.join(self.folder, tag + re.sub("/", "_", source))
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        paths = [include] if include else []
        paths += [os.path.join(self.root, "src"), os.path.join(self.root, "tests/sim"),
                  os.path.dirname(os.path.join(self.root, source))]
        done = run("gcc", *FLAGS, *["-I" + p for p in paths], "-c", path, "-o", out)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return out

    def link(self, tag, changed):
        out = os.path.join(self.folder, tag + "sim")
        done = run("gcc", "-o", out, *changed, *[self.objects[s] for s in self.main],
                   self.archive, *LIBRARIES)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return out

    def users(self, header):
        """Sources that a changed header may concern: those of the folders, not the simulator's."""
        name = os.path.relpath(header, "src")
        return [s for s in self.objects if s not in self.main and
                name.split("/")[0] in ("core", "engine") and s.startswith(("src/core", "src/engine"))]

    def plant(self, tag, file, old, new):
        with open(os.path.join(self.root, file), encoding="utf-8") as f:
            text = f.read()
        if text.count(old) != 1:
            return None
        text = text.replace(old, new)
        if file.endswith(".c"):
            return self.link(tag, [self.compile(file, text, tag)])
        include = os.path.join(self.folder, tag + "include")
        target = os.path.join(include, os.path.relpath(file, "src"))
        os.makedirs(os.path.dirname(target))
        with open(target, "w", encoding="utf-8") as f:
            f.write(text)
        return self.link(tag, [self.compile(s, None, tag, include) for s in self.users(file)])


def try_plant(build, number, plant):
    name, file, old, new = plant
    try:
        program = build.plant("p%d_" % number, file, old, new)
    except RuntimeError as e:
        return False, name, "does not compile: %s" % e
    if program is None:
        return False, name, "%s does not hold the text exactly once" % file
    done = run(program, "1", str(SEEDS), str(STEPS), env={"SIM_FIRST": "1"})
    found = [l for l in done.stdout.splitlines() if l.startswith("# seed")]
    if done.returncode == 0:
        return False, name, "%d seeds did not find it" % SEEDS
    return True, name, found[0][2:] if found else "exit %d" % done.returncode


def main():
    root = os.path.abspath(sys.argv[1])
    plants = [p for p in PLANTS if not sys.argv[2:] or any(n in p[0] for n in sys.argv[2:])]
    bad = 0
    print("1..%d" % len(plants))
    with tempfile.TemporaryDirectory(prefix="lockstep-plants-") as folder:
        build = Build(root, folder)
        with ThreadPoolExecutor(2) as pool:
            results = pool.map(lambda x: try_plant(build, *x), enumerate(plants))
            for number, (caught, name, text) in enumerate(results, 1):
                bad += not caught
                print("%s %d - %s" % ("ok" if caught else "not ok", number, name))
                for line in text.splitlines():
                    print("#   " + line)
                sys.stdout.flush()
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
