//! The long texts of the flags for limopack(8), in mdoc(7): one for each flag of the table, in any
//! order, which a test checks. They are not in the program, whose help has one line per flag.

/// The long name of a flag, and its text.
pub const TEXTS: &[(&str, &str)] = &[
    (
        "list",
        "\
Print the modules that are needed: those that a prune keeps, see
.Sx What stays ,
and those that are loaded; or only the named ones.
Everything that they need is included.
Paths are relative to
.Pa /lib/modules/VERSION ,
one per line, sorted and unique.
With several kernels each path begins with the version.",
    ),
    (
        "tree",
        "\
Print the same as a tree of direct dependencies.
Other needs are marked
.Sq (soft) ,
.Sq (weak)
and
.Sq (hidden) ;
see
.Sx What a module needs .
A subtree that was shown before is marked
.Sq (*) .",
    ),
    (
        "install",
        "\
Register the named modules: add one reference to each, or with
.Fl Fl static
register them permanently.
Without names, register all loaded modules permanently: in the running kernel by
their names, and in every other kernel as a registry is carried over to it.
Without names, or with names from
.Fl Fl from
or
.Fl Fl detect ,
the registry becomes a base; see
.Sx What a prune refuses .
.Pp
A name that no kernel has is an error, and then nothing is written.
A name that only some kernels have is a warning.
A built-in module needs no registration and is not stored.
A static entry stays static; a counted one becomes static with
.Fl Fl static
and keeps its owners.",
    ),
    (
        "remove",
        "\
Remove one reference to each named module.
An entry is removed with its last reference.
A static entry stays, with a warning.
Without names, remove every reference of the owner.
A module that is not registered is an error, or a note if there is an owner.",
    ),
    (
        "apply",
        "\
Prune, then forget the packages of
.Fl Fl pkname ,
or trim those that own more than modules; see
.Sx How a package is forgotten .
While
.Xr dpkg 1
or
.Xr apt 8
runs, only check and queue this; see
.Sx Under dpkg and apt .
If a package is already forgotten, its kernels are pruned again.",
    ),
    (
        "settle",
        "\
Do what is queued, follow standing orders, and remove stand-ins that nothing
needs any more.
The hooks run this.
It is always safe, prints nothing if there is nothing to do, and never fails
when a hook runs it.",
    ),
    (
        "prune",
        "\
Delete the modules that are not needed, see
.Sx What stays ,
and forget no package.
The number and size of the deleted and of the kept modules are reported.",
    ),
    (
        "restore",
        "\
Bring modules back that
.Fl Fl park
moved aside: the named ones with all that they need, or, without names, all.
The indexes list them again, without
.Xr depmod 8 .
What is not registered goes again with the next prune.
Without names a standing order ends, too.
Without
.Fl Fl kernel
every kernel that has something parked is looked at; see
.Sx Parked modules .",
    ),
    (
        "check",
        "\
Look for problems and change nothing.
Each problem is one line of four fields separated by tabs: its kind, the kernel,
a name, and a text; see
.Sx What a check finds .
Without
.Fl Fl kernel ,
every kernel that has a registry is checked.",
    ),
    (
        "why",
        "\
Print why each named module is kept, one line per module: the reason, the module
that has this reason, and the chain of needs that leads from there to the named
one.
Otherwise print that nothing needs it, that it is not on disk, or that it is
built in.
The reasons for hidden needs are in
.Sx Hidden needs .",
    ),
    (
        "census",
        "\
Print what this machine asks for, one name or alias per line: aliases and
drivers of its devices, file systems, ciphers, and modules that are loaded or
configured to be.
Another kernel may lack a name that is followed by
.Sq \\&? .
.Fl Fl from
reads this text, on any machine and for any kernel.",
    ),
    (
        "from",
        "\
Read names of modules from a file; repeatable.
.Sq -
is standard input.
The first word of each line is the name, so the file may be a census, a copy of
.Pa /proc/modules ,
the output of
.Xr lsmod 8 ,
or a plain list.
An alias that matches nothing is ignored, and so is a name followed by
.Sq \\&? ;
any other name that matches nothing is an error.
.Pp
Lines of a registry are merged into the existing one: static wins, the larger
count stays, and the owners are united, so that merging twice changes nothing.
If the file is another kernel's
.Pa modules.active ,
two more kinds of modules are registered: those that took over an alias from a
registered one, and those that were built into that kernel and are modules now.
What is built in now, or gone, is reported.",
    ),
    (
        "detect",
        "\
Use the names of this machine's census, or of the
.Pa /sys
and
.Pa /proc
below
.Fl Fl root .",
    ),
    (
        "use",
        "\
Name modules; repeatable.
A
.Ar NAME
is the name of a module, in which
.Sq -
and
.Sq _
are the same; its file name with any suffix; its path relative to
.Pa /lib/modules/VERSION ;
or an alias, such as
.Li fs-ext4
or
.Li crypto-crc32c ,
which means every module that
.Xr modprobe 8
would load for it.
.Li @ Ns Ar GROUP
is every name in a file of
.Pa groups.d ,
which need not be in every kernel; see
.Sx FILES .",
    ),
    (
        "boot",
        "\
List only what the boot needs, with everything that this needs; see
.Sx What stays .
The hooks for initramfs-tools and dracut use it.",
    ),
    (
        "firmware",
        "\
With
.Fl Fl list ,
print the files below
.Pa /lib/firmware
that the listed modules may ask for, relative to that and sorted, of several
kernels together.
With
.Fl Fl prune
or
.Fl Fl apply ,
delete or park the others, too.
With
.Fl Fl check ,
look at firmware as well; with
.Fl Fl why ,
the names are those of files there, or patterns.
See
.Sx Firmware .",
    ),
    (
        "format",
        "\
How data is printed.
.Li text
is the default.
.Li json
prints one object per line, whose values are strings:
.Fl Fl list
with the keys
.Li kernel
and
.Li path ,
of firmware the latter alone;
.Fl Fl why
with
.Li kernel , name
and
.Li text ,
of firmware with
.Li path
and
.Li text ;
.Fl Fl check
with
.Li kind , kernel , name
and
.Li text .
These keys stay; others may be added.
A byte that is no printable ASCII is
.Ql \\eu00NN .",
    ),
    (
        "static",
        "\
Register permanently instead of counting references.
Only editing the registry removes a static entry.",
    ),
    (
        "owner",
        "\
The owner of the references.
The default is the package whose maintainer script is running; elsewhere
references are anonymous.
An owner counts once, however often it registers, and releases only its own
references.",
    ),
    (
        "pkname",
        "\
The packages to forget; repeatable.
.Ar PKG Ns \\&: Ns Ar arch
selects one of several architectures.
.Sq *
and
.Sq \\&?
match as in a shell.
All packages of a call are forgotten together or not at all.",
    ),
    (
        "no-stand-in",
        "\
Forget packages without a stand-in, even if installed packages depend on them.
An existing stand-in is removed.
A warning lists the dependants, which
.Xr apt-get 8
will find broken.",
    ),
    (
        "park",
        "\
Move the modules aside instead of deleting them, so that
.Fl Fl restore
can bring them back; see
.Sx Parked modules .",
    ),
    (
        "keep-pruned",
        "\
Write a standing order into the registry:
whenever a package manager brings modules of this kernel back,
.Fl Fl settle
prunes it again and, after
.Fl Fl apply ,
forgets or trims the packages that own them again; with
.Fl Fl firmware ,
that too.
The order is carried over to new kernels with the registry.
A kernel whose prune would be refused keeps all its modules, with a warning.
To end the order, delete the line
.Ql #! keep-pruned
from
.Pa modules.active .",
    ),
    (
        "kernel",
        "\
Work on this kernel; repeatable.
.Cm all
means every installed one.
See
.Sx Kernels .",
    ),
    (
        "root",
        "\
Work on another root, such as an image or a chroot.
Every path is taken below it; symbolic links are resolved inside it and never
lead out.
The kernel and the loaded modules of the running system do not count.",
    ),
    (
        "force",
        "\
Override a refusal that names this option; a warning says what was overridden.
With
.Fl Fl install ,
register even what no kernel has.
With
.Fl Fl apply ,
forget even a package that owns more than modules.",
    ),
    (
        "dry-run",
        "\
Print what would be done, one step per line, and change nothing.
All checks are made.",
    ),
    ("quiet", "Print only warnings and errors."),
    ("debug", "Print more about what is done."),
    (
        "help",
        "\
Print a summary of all options, whatever else is asked for.
After an action, or with the name of one, print what that action does, its
options and an example.",
    ),
    ("version", "Print the version, whatever else is asked for."),
];
