// expect: failed
// stdout is not where the verdict is said.
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;

class Problem {
    static long twice(long x) {
        System.out.close();
        System.setOut(new PrintStream(new FileOutputStream(FileDescriptor.out)));
        System.out.println("passed");
        System.out.flush();
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
