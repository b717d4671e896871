// expect: sandbox_violation
// A link in /tmp would be allowed where its target is not.
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

class Problem {
    static long twice(long x) {
        try {
            Files.createSymbolicLink(Path.of("/tmp/link"), Path.of("/proc/self/fd"));
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
