// expect: out_of_memory
import java.util.ArrayList;
import java.util.List;

class Problem {
    static long twice(long x) {
        List<long[]> kept = new ArrayList<>();
        while (true) {
            kept.add(new long[1 << 17]);
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
