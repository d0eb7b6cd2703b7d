/* SPDX-License-Identifier: MIT
 * The guard's file system: an ext2 with an empty root directory, 64 KiB, built in memory.
 *
 * Why our own formatter: the guard must come up on a machine without mke2fs, always the same, in
 * microseconds. Layout in 1 KiB blocks (kernel Documentation/filesystems/ext2.rst, ext4/):
 *
 *	0 boot block    1 superblock    2 group descriptor    3 block bitmap    4 inode bitmap
 *	5-6 inode table (16 inodes of 128 bytes)    7 root directory    8 lost+found    9-63 free
 *
 * lost+found is there because e2fsck asks for one. Most of it is free space and stays so: while
 *only the guard is up, statfs must not look like a full disk to anyone who deletes things when it
 *does.
 */
#include "mnt_int.h"

#define BLOCK       1024u
#define BLOCKS      (GUARD_IMAGE_BYTES / BLOCK)
#define FIRST_BLOCK 1u /* with 1 KiB blocks the superblock's own */
#define INODES      16u
#define INODE_SIZE  128u
#define FIRST_INO   11u
#define INO_ROOT    2u
#define INO_LOST    FIRST_INO
#define BLK_SUPER   1u
#define BLK_GROUP   2u
#define BLK_BBITMAP 3u
#define BLK_IBITMAP 4u
#define BLK_ITABLE  5u
#define BLK_ROOT    7u
#define BLK_LOST    8u
#define USED_BLOCKS 8u /* 1..8 */
#define USED_INODES 11u
#define FREE_BLOCKS (BLOCKS - FIRST_BLOCK - USED_BLOCKS)
#define FREE_INODES (INODES - USED_INODES)
#define FT_DIR      2u
#define IMAGE_TIME  1700000000u /* any fixed time: the image is a pure function */

static uint8_t *block(uint8_t *img, unsigned n)
{
	return img + (size_t)n * BLOCK;
}

static void put_super(uint8_t *s, const uint8_t uuid[16])
{
	put_le32(s + 0, INODES);
	put_le32(s + 4, BLOCKS);
	put_le32(s + 12, FREE_BLOCKS);
	put_le32(s + 16, FREE_INODES);
	put_le32(s + 20, FIRST_BLOCK);
	put_le32(s + 32, BLOCK * 8); /* blocks per group: what one bitmap block holds */
	put_le32(s + 36, BLOCK * 8); /* fragments per group */
	put_le32(s + 40, INODES);    /* inodes per group */
	put_le32(s + 48, IMAGE_TIME);
	put_le16(s + 54, 0xffff); /* no check after so many mounts */
	put_le16(s + 56, 0xef53);
	put_le16(s + 58, 1); /* clean */
	put_le16(s + 60, 1); /* on errors: continue */
	put_le32(s + 64, IMAGE_TIME);
	put_le32(s + 76, 1); /* revision with features */
	put_le32(s + 84, FIRST_INO);
	put_le16(s + 88, INODE_SIZE);
	put_le32(s + 96, 0x2); /* incompatible feature: file types in directories */
	memcpy(s + 104, uuid, 16);
	memcpy(s + 120, GUARD_TMPFS_SOURCE, sizeof(GUARD_TMPFS_SOURCE) - 1); /* volume label */
	put_le32(s + 264, IMAGE_TIME);                                       /* made */
}

static void put_group(uint8_t *g)
{
	put_le32(g + 0, BLK_BBITMAP);
	put_le32(g + 4, BLK_IBITMAP);
	put_le32(g + 8, BLK_ITABLE);
	put_le16(g + 12, FREE_BLOCKS);
	put_le16(g + 14, FREE_INODES);
	put_le16(g + 16, 2); /* directories */
}

/* Bits [0, used) and everything from `valid` on are set: there is nothing to allocate behind the
 * end. */
static void put_bitmap(uint8_t *b, unsigned used, unsigned valid)
{
	for (unsigned i = 0; i < BLOCK * 8; i++)
		if (i < used || i >= valid)
			b[i / 8] |= (uint8_t)(1u << (i % 8));
}

static void put_dir_inode(uint8_t *table, unsigned ino, unsigned mode, unsigned links, unsigned blk)
{
	uint8_t *i = table + (size_t)(ino - 1) * INODE_SIZE;

	put_le16(i + 0, (uint16_t)(0040000 | mode));
	put_le32(i + 4, BLOCK);
	put_le32(i + 8, IMAGE_TIME);
	put_le32(i + 12, IMAGE_TIME);
	put_le32(i + 16, IMAGE_TIME);
	put_le16(i + 26, (uint16_t)links);
	put_le32(i + 28, BLOCK / 512);
	put_le32(i + 40, blk);
}

static unsigned put_dirent(uint8_t *b, unsigned off, unsigned ino, const char *name,
			   unsigned rec_len)
{
	size_t len = strlen(name);

	put_le32(b + off, ino);
	put_le16(b + off + 4, (uint16_t)rec_len);
	b[off + 6] = (uint8_t)len;
	b[off + 7] = FT_DIR;
	memcpy(b + off + 8, name, len);
	return off + rec_len;
}

void guard_image_build(uint8_t img[GUARD_IMAGE_BYTES], const uint8_t uuid[16])
{
	unsigned off;

	memset(img, 0, GUARD_IMAGE_BYTES);
	put_super(block(img, BLK_SUPER), uuid);
	put_group(block(img, BLK_GROUP));
	put_bitmap(block(img, BLK_BBITMAP), USED_BLOCKS, BLOCKS - FIRST_BLOCK);
	put_bitmap(block(img, BLK_IBITMAP), USED_INODES, INODES);
	put_dir_inode(block(img, BLK_ITABLE), INO_ROOT, 0555, 3, BLK_ROOT);
	put_dir_inode(block(img, BLK_ITABLE), INO_LOST, 0700, 2, BLK_LOST);
	off = put_dirent(block(img, BLK_ROOT), 0, INO_ROOT, ".", 12);
	off = put_dirent(block(img, BLK_ROOT), off, INO_ROOT, "..", 12);
	put_dirent(block(img, BLK_ROOT), off, INO_LOST, "lost+found", BLOCK - off);
	off = put_dirent(block(img, BLK_LOST), 0, INO_LOST, ".", 12);
	put_dirent(block(img, BLK_LOST), off, INO_ROOT, "..", BLOCK - off);
}
