package image

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxAccounts bounds /etc/passwd and /etc/group of an image, in bytes.
const maxAccounts = 16 << 20

// ResolveUser turns an image's or a container's user ("", "name", "uid", "name:group", "uid:gid" and mixes) into
// numbers, as docker does: names come from the root file system's own /etc/passwd and /etc/group, a user's
// groups too unless a group is given. A number need not be listed there; its group is then 0. Numbers above
// 2^31-1, which runtimes would wrap around (CVE-2024-40635), are errors, also in those files. Links in rootfs
// lead nowhere outside it.
func (s *Store) ResolveUser(rootfs, user string) (uid, gid uint32, groups []uint32, err error) {
	uid, gid, groups, err = resolveUser(rootfs, user)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("user %q: %w", user, err)
	}
	return uid, gid, groups, nil
}

func resolveUser(rootfs, user string) (uid, gid uint32, groups []uint32, err error) {
	userPart, groupPart, hasGroup := strings.Cut(user, ":")
	if userPart == "" {
		userPart = "0"
	}
	account, err := findUser(rootfs, userPart)
	if err != nil {
		return 0, 0, nil, err
	}
	if hasGroup && groupPart != "" {
		gid, err := findGroup(rootfs, groupPart)
		return account.uid, gid, nil, err
	}
	groups, err = memberships(rootfs, account.name)
	return account.uid, account.gid, groups, err
}

type account struct {
	name     string // empty if not listed
	uid, gid uint32
}

// findUser looks for a number by number and for a name by name: an account called "1000" that is root must not
// be taken for the number.
func findUser(rootfs, want string) (account, error) {
	number, numeric, err := parseNumber(want)
	if err != nil {
		return account{}, err
	}
	found := account{uid: number}
	err = eachLine(rootfs, "etc/passwd", 4, func(fields []string) (bool, error) {
		uid, ok, err := parseNumber(fields[2])
		if numeric {
			if err != nil || !ok || uid != number {
				return false, nil
			}
		} else if fields[0] != want {
			return false, nil
		}
		gid, gok, gerr := parseNumber(fields[3])
		if err := errors.Join(err, gerr); err != nil || !ok || !gok {
			return false, fmt.Errorf("/etc/passwd: bad numbers in the line of %q: %w", fields[0], errors.Join(err, errNotNumber))
		}
		found = account{name: fields[0], uid: uid, gid: gid}
		return true, nil
	})
	if err == nil && !numeric && found.name == "" {
		err = errors.New("not in the image's /etc/passwd")
	}
	return found, err
}

func findGroup(rootfs, want string) (uint32, error) {
	number, numeric, err := parseNumber(want)
	if err != nil || numeric {
		return number, err
	}
	found := false
	err = eachLine(rootfs, "etc/group", 3, func(fields []string) (bool, error) {
		if fields[0] != want {
			return false, nil
		}
		found = true
		number, err = groupNumber(fields)
		return true, err
	})
	if err == nil && !found {
		err = fmt.Errorf("group %q is not in the image's /etc/group", want)
	}
	return number, err
}

// memberships gives the groups that list the user, in ascending order.
func memberships(rootfs, user string) ([]uint32, error) {
	if user == "" {
		return nil, nil
	}
	var groups []uint32
	err := eachLine(rootfs, "etc/group", 4, func(fields []string) (bool, error) {
		if !slices.Contains(strings.Split(fields[3], ","), user) {
			return false, nil
		}
		gid, err := groupNumber(fields)
		groups = append(groups, gid)
		return false, err
	})
	slices.Sort(groups)
	return slices.Compact(groups), err
}

func groupNumber(fields []string) (uint32, error) {
	gid, ok, err := parseNumber(fields[2])
	if err != nil || !ok {
		return 0, fmt.Errorf("/etc/group: bad number in the line of %q: %w", fields[0], errors.Join(err, errNotNumber))
	}
	return gid, nil
}

var errNotNumber = errors.New("not a number from 0 to 2147483647")

// parseNumber tells a number from a name; numeric strings out of range are errors rather than names.
func parseNumber(s string) (n uint32, numeric bool, err error) {
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false, nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 || v > math.MaxInt32 {
		return 0, true, fmt.Errorf("%q is %w", s, errNotNumber)
	}
	return uint32(v), true, nil
}

// eachLine calls visit with the fields of each line that has at least min of them, until it says that it is
// done. A file that does not exist has no lines.
func eachLine(rootfs, name string, min int, visit func(fields []string) (done bool, err error)) error {
	f, err := openInside(rootfs, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxAccounts))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		fields := strings.Split(line, ":")
		if strings.HasPrefix(line, "#") || len(fields) < min {
			continue
		}
		if done, err := visit(fields); done || err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	return nil
}

// openInside opens a regular file with rootfs for its root: absolute links and ".." stay inside. Opening a pipe
// does not block.
func openInside(rootfs, name string) (*os.File, error) {
	root, err := os.Open(rootfs)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOTDIR) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
