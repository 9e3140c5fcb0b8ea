/* where: `limpet where`, the server of each key. */
#ifndef LP_LB_CLI_WHERE_H
#define LP_LB_CLI_WHERE_H

/* arguments: what stands behind "where". Gives the exit status. */
int where_run(int count, char **arguments);

#endif
