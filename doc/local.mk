# doc
dist_man_MANS += doc/man/cachectl.1 doc/man/corscache.conf.5
