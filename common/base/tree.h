/* tree.h - folders with all that is in them. */
#ifndef FERRO_BASE_TREE_H
#define FERRO_BASE_TREE_H

/* Remove `path`, a file or a folder with all below it, as far as that can be done; it need not exist.
 * Links are removed, not followed. */
void tree_remove(const char *path);

#endif
