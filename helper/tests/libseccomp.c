/*
 * What libseccomp makes of a profile, as a second opinion for the helper's compiler.
 *
 *   filter ACTION ARCH...   rules on standard input, one a line:
 *                           NAME ACTION [INDEX OPERATOR A B]...
 *                           -> the BPF program on standard output
 *   names ARCH              -> "NUMBER NAME" for every system call that libseccomp knows
 *
 * ACTION is a SECCOMP_RET_* value, ARCH libseccomp's token, OPERATOR its enum scmp_compare.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <seccomp.h>

static int fail(const char *what, const char *which, int error)
{
	fprintf(stderr, "%s %s: %s\n", what, which, strerror(-error));
	return 1;
}

static int add_rule(scmp_filter_ctx filter, char *line)
{
	struct scmp_arg_cmp conditions[6];
	unsigned count = 0;
	char *name = strtok(line, " \n");
	uint32_t action = strtoul(strtok(NULL, " \n"), NULL, 0);
	char *word;

	while (count < 6 && (word = strtok(NULL, " \n"))) {
		conditions[count].arg = strtoul(word, NULL, 0);
		conditions[count].op = strtoul(strtok(NULL, " \n"), NULL, 0);
		conditions[count].datum_a = strtoull(strtok(NULL, " \n"), NULL, 0);
		conditions[count].datum_b = strtoull(strtok(NULL, " \n"), NULL, 0);
		count++;
	}
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		return 0;
	int error = seccomp_rule_add_array(filter, action, number, count, conditions);
	return error ? fail("rule for", name, error) : 0;
}

static int filter(int argc, char **argv)
{
	char line[4096];
	scmp_filter_ctx filter = seccomp_init(strtoul(argv[2], NULL, 0));
	int native = 0;

	for (int i = 3; i < argc; i++) {
		uint32_t arch = strtoul(argv[i], NULL, 0);
		native |= arch == seccomp_arch_native();
		int error = seccomp_arch_exist(filter, arch) ? seccomp_arch_add(filter, arch) : 0;
		if (error)
			return fail("architecture", argv[i], error);
	}
	if (!native)
		seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
	while (fgets(line, sizeof line, stdin))
		if (add_rule(filter, line))
			return 1;
	int error = seccomp_export_bpf(filter, 1);
	return error ? fail("export", "", error) : 0;
}

static int names(uint32_t arch)
{
	for (int number = 0; number < 0xf0010; number++) {
		uint32_t bit = arch == SCMP_ARCH_X32 ? 0x40000000 : 0;
		char *name = seccomp_syscall_resolve_num_arch(arch, number | bit);
		if (name)
			printf("%d %s\n", number, name);
		free(name);
		if (number == 1000)
			number = 0xeffff;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && !strcmp(argv[1], "filter"))
		return filter(argc, argv);
	if (argc == 3 && !strcmp(argv[1], "names"))
		return names(strtoul(argv[2], NULL, 0));
	return 2;
}
