//! What the manual page says of each flag, in mdoc(7). One entry for each flag of the table,
//! in any order; a test holds the two together. It is no part of the program, whose help has
//! one line for a flag.

/// The long name of a flag, and its text.
pub const TEXTS: &[(&str, &str)] = &[
    (
        "list",
        "\
Print the modules that are needed: those that stay, see
.Sx What stays ,
and those that are loaded, or only the named ones, with all that they need.
Paths are relative to
.Pa /lib/modules/VERSION ,
one per line, sorted, each once.
With several kernels every path begins with the version.",
    ),
    (
        "tree",
        "\
The same as a tree: who needs whom, by direct dependencies.
Needs of other kinds are marked
.Sq (soft) ,
.Sq (weak)
and
.Sq (hidden) ;
see
.Sx What a module needs .
A part that was shown before is marked
.Sq (*) .",
    ),
    (
        "install",
        "\
Register the named modules: one reference more for each, or with
.Fl Fl static
for good.
Without names, register all loaded modules for good: in the kernel that runs by
their names, and in every other one as a registry is carried over to it.
That, and names of
.Fl Fl from
or
.Fl Fl detect ,
make the registry a base, see
.Sx What a prune refuses .
.Pp
A name that no kernel has is an error, and nothing is written then.
A name that only some kernels have is a warning.
What is built in needs no registration and is not stored.
A static entry stays static; a counted one becomes static with
.Fl Fl static
and keeps its owners.",
    ),
    (
        "remove",
        "\
Take one reference of each named module away; with the last one the entry goes.
A static entry stays, with a warning.
Without names, take away every reference of the owner.
A module that is not registered is an error, or a note where an owner asks.",
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
runs, check and queue that; see
.Sx Under dpkg and apt .
A package that is forgotten already needs no forgetting; its kernels are pruned
again.",
    ),
    (
        "settle",
        "\
Do what is queued, and take away stand-ins that nothing needs any more.
The hooks call this; it is always safe, and silent when there is nothing to do.
Called by a hook it never fails.",
    ),
    (
        "prune",
        "\
Delete the modules that nothing registered needs, and forget no package.
The size of what went and of what stayed is reported.",
    ),
    (
        "check",
        "\
Look for problems and change nothing.
Each is one line of four fields with tabs between them: its kind, the kernel, a
name, and a text; see
.Sx What a check finds .
Without
.Fl Fl kernel
every kernel that has a registry is looked at.",
    ),
    (
        "why",
        "\
Say of each named module why it is kept: a line with its name and the way from a
module that is registered or loaded, over what each one needs and how, to it; or
that nothing needs it, that it is not on disk, or that it is built in.
Why a module has a hidden need is told in
.Sx Hidden needs .",
    ),
    (
        "census",
        "\
Print what this machine asks for, one name or alias a line: the aliases and
drivers
of its devices, file systems, ciphers, modules that are loaded or configured to
be.
A name with
.Sq \\&?
behind it may be missing in another kernel.
Fed to
.Fl Fl from ,
also on another machine, it names the modules of any kernel.",
    ),
    (
        "from",
        "\
Name modules by a file, repeatable;
.Sq -
is standard input.
The first word of each line counts, so that a census, a copy of
.Pa /proc/modules ,
the output of
.Xr lsmod 8
and a plain list will do.
An alias that matches nothing, or a name with
.Sq \\&?
behind it, is passed over; any other name that matches nothing is an error.
.Pp
Lines of a registry are joined with the one that is there: static wins, the
larger
count stays, and the owners of both are owners, so that doing it twice changes
nothing.
If the file is another kernel's
.Pa modules.active ,
modules that took over an alias which a registered one has lost are registered,
too, and so is what was built into that kernel and is a module now.
What is built in or gone is told.",
    ),
    (
        "detect",
        "\
Name modules by the census of this machine, or of what
.Pa /sys
and
.Pa /proc
below
.Fl Fl root
tell.",
    ),
    (
        "use",
        "\
Name modules; repeatable.
A module is named by its name, where
.Sq -
and
.Sq _
are the same, by its file name with any suffix, by its path relative to
.Pa /lib/modules/VERSION ,
or by an alias, such as
.Li fs-ext4
or
.Li crypto-crc32c .
An alias names every module that
.Xr modprobe 8
would load for it.",
    ),
    (
        "boot",
        "\
List only what the boot needs, and what that needs: see
.Sx What stays .
The hooks for initramfs-tools and dracut call this.",
    ),
    (
        "static",
        "\
Register for good instead of counting.
Only an edit of the registry takes a static entry away.",
    ),
    (
        "owner",
        "\
Whose reference it is, by default the package whose maintainer script is
running,
else nobody's.
An owner counts once, however often it installs, and gives back only what it
has.",
    ),
    (
        "pkname",
        "\
The packages to forget; repeatable.
.Ar PKG Ns \\&: Ns Ar arch
chooses among several architectures, and
.Sq * ,
.Sq \\&?
match as in a shell.
All packages of a call are forgotten together or not at all.",
    ),
    (
        "no-stand-in",
        "\
Forget plainly, even what installed packages depend on.
A stand-in that is there already goes, too.
The dependants are named in a warning;
.Xr apt-get 8
will find them broken.",
    ),
    (
        "keep-pruned",
        "\
Leave a standing order in the registry:
whenever a package manager brings modules of such a kernel back,
.Fl Fl settle
prunes it again and, after
.Fl Fl apply ,
forgets or trims again the packages that own them.
The order goes to new kernels with the registry.
A kernel whose prune would be refused is left whole, with a warning.
To end it, remove the line
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
Every path is taken below it; symbolic links are resolved inside and never lead
out.
The kernel and the loaded modules of the running system do not count then.",
    ),
    (
        "force",
        "\
Go on where a refusal says so; what was overridden is said as a warning.
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
Print what would be done, one step a line, and change nothing.
All checks are made.",
    ),
    ("quiet", "Say warnings and errors only."),
    ("debug", "Say more about what is done."),
    (
        "help",
        "Print a summary of all flags, whatever else is asked for.",
    ),
    ("version", "Print the version, whatever else is asked for."),
];
