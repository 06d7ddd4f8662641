// SPDX-License-Identifier: GPL-2.0
/*
 * Where there is no libFuzzer: run a target over files, and over all beginnings
 * of each, so that little text tries a lot.
 */
#include "parts.h"

static void replay(const char *name)
{
	FILE *file = fopen(name, "r");
	static u8 buf[1 << 16];
	size_t size;

	must(file);
	size = fread(buf, 1, sizeof(buf), file);
	fclose(file);
	for (size_t part = size; part; part -= (part + 7) / 8) {
		/* Of just its size, for who reads beyond. */
		u8 *copy = memcpy(malloc(part), buf, part);

		LLVMFuzzerTestOneInput(copy, part);
		free(copy);
	}
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%d inputs\n", argc - 1);
	return 0;
}
