# debhelper's sequence `limopack`: dh_limopack runs after dh_install.
use strict;
use warnings;
use Debian::Debhelper::Dh_Lib;

insert_after('dh_install', 'dh_limopack');

1;
