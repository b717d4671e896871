// expect: failed
// /tmp is bounded and empty again afterwards.
import java.io.FileOutputStream;
import java.io.IOException;

class Problem {
    static long twice(long x) {
        try (FileOutputStream file = new FileOutputStream("/tmp/full")) {
            byte[] block = new byte[1 << 20];
            while (true) {
                file.write(block);
            }
        } catch (IOException full) {
            return 0;
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
