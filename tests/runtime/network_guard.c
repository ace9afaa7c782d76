/* Preloaded into a process: every look-up of a host's name and every connection over a network is
   refused, and its name written to the file that NETWORK_LOG names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void note(const char *name) {
  FILE *log = fopen(getenv("NETWORK_LOG"), "a");
  fprintf(log, "%s\n", name ? name : "-");
  fclose(log);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
  note(node);
  return EAI_FAIL;
}

struct hostent *gethostbyname(const char *name) {
  note(name);
  return NULL;
}

int connect(int descriptor, const struct sockaddr *address, socklen_t size) {
  int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
  if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
    return real(descriptor, address, size);
  note("connect");
  errno = ENETUNREACH;
  return -1;
}
