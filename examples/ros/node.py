"""The ROS 2 node: subscriptions, parameters and publishers around the bridge, and nothing else.

    python3 -m examples.ros.node --ros-args -p address:=grpc://localhost:8001 \
        -r image:=/camera/image_rect -r camera_info:=/camera/camera_info

It needs rclpy and sensor_msgs, as a ROS 2 installation has them.
"""

import threading
import time
from typing import Any

import rclpy
import rclpy.executors
import rclpy.node
import rclpy.qos
import sensor_msgs.msg

from depth_client import DepthClient, ServiceError

from .bridge import BridgeOptions, DepthBridge, Feed, Pairing
from .conversions import UnfitMessage, compressed_depth
from .messages import filled

_BEGIN_AGAIN_S = 1.0
_PARAMETERS: dict[str, Any] = {
    "address": "grpc://localhost:8001",
    "api_key": "",
    "compressed": False,  # subscribe to image/compressed rather than image
    "encoding": "32FC1",
    "as_sent": True,
    "steadiness": 0.8,
    "farthest_m": 0.0,  # 0: no bound
    "camera_height_m": 0.0,  # 0: unknown
    "model": "",
    "jpeg_quality": 0,  # of pictures on their way to the service; 0: PNG
}


class DepthNode(rclpy.node.Node):  # type: ignore[misc]
    """Publishes depth/image_rect, depth/camera_info and, of 16UC1, depth/image_rect/compressedDepth."""

    def __init__(self) -> None:
        super().__init__("depth")
        given = {name: self.declare_parameter(name, usual).value for name, usual in _PARAMETERS.items()}
        options = BridgeOptions(
            encoding=given["encoding"],
            as_sent=given["as_sent"],
            steadiness=given["steadiness"],
            farthest_m=given["farthest_m"] or None,
            camera_height_m=given["camera_height_m"] or None,
            model=given["model"] or None,
        )
        self._client = DepthClient(
            given["address"], api_key=given["api_key"] or None, jpeg_quality=given["jpeg_quality"] or None
        )
        self._bridge = DepthBridge(self._client, options)
        self._pairing, self._feed, self._closing = Pairing(), Feed(), False
        qos, messages = rclpy.qos.qos_profile_sensor_data, sensor_msgs.msg
        self._depth = self.create_publisher(messages.Image, "depth/image_rect", qos)
        self._info = self.create_publisher(messages.CameraInfo, "depth/camera_info", qos)
        self._packed = self.create_publisher(
            messages.CompressedImage, "depth/image_rect/compressedDepth", qos
        )
        # A latched CameraInfo was sent before this node came, and is heard only by who asks for it so.
        latched = rclpy.qos.QoSProfile(
            depth=1,
            reliability=rclpy.qos.ReliabilityPolicy.RELIABLE,
            durability=rclpy.qos.DurabilityPolicy.TRANSIENT_LOCAL,
        )
        for wanted in (qos, latched):
            self.create_subscription(messages.CameraInfo, "camera_info", self._pairing.take_info, wanted)
        if given["compressed"]:
            self.create_subscription(messages.CompressedImage, "image/compressed", self._take, qos)
        else:
            self.create_subscription(messages.Image, "image", self._take, qos)
        self._asking = threading.Thread(target=self._ask)
        self._asking.start()

    def close(self) -> None:
        """Let go of the service."""
        self._closing = True
        self._feed.close()
        self._asking.join()
        self._client.close()

    def _take(self, message: Any) -> None:
        try:
            frame = self._pairing.take_image(message)
        except UnfitMessage as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        if frame is not None:
            self._feed.put(frame)

    def _ask(self) -> None:
        while not self._closing:
            try:
                for answer in self._bridge.answers(self._feed):
                    self._depth.publish(filled(sensor_msgs.msg.Image(), answer.depth))
                    self._info.publish(filled(sensor_msgs.msg.CameraInfo(), answer.info))
                    if answer.depth.encoding == "16UC1" and self._packed.get_subscription_count():
                        packed = compressed_depth(answer.depth)
                        self._packed.publish(filled(sensor_msgs.msg.CompressedImage(), packed))
            except (ServiceError, UnfitMessage) as error:
                self.get_logger().error(f"{error}; beginning again in {_BEGIN_AGAIN_S} s")
                time.sleep(_BEGIN_AGAIN_S)


def main() -> None:
    """Run the node until it is interrupted."""
    rclpy.init()
    node = DepthNode()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
